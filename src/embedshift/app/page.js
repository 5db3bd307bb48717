// The points answer to the pointer and to keys: the nearest one is active; a click or Enter shows its image.
let active = -1;
const parts = () => {
  const svg = element.querySelector(".plot svg");
  return { svg, dots: svg ? [...svg.querySelectorAll("circle")] : [], said: element.querySelector(".point") };
};
const activate = (place) => {
  const { dots, said } = parts();
  dots.forEach((dot) => dot.classList.remove("active"));
  active = Math.max(0, Math.min(dots.length - 1, place));
  const dot = dots[active];
  if (!dot) return;
  dot.classList.add("active");
  said.textContent = `${dot.dataset.name}: ${dot.dataset.x} across, ${dot.dataset.y} up`;
};
const nearest = (event) => {
  const { svg, dots } = parts();
  if (!svg || !svg.contains(event.target)) return -1;
  const box = svg.getBoundingClientRect();
  const at = (value, side) => (parseFloat(value) / 100) * side;
  let best = -1, least = 24 ** 2;
  dots.forEach((dot, place) => {
    const across = at(dot.getAttribute("cx"), box.width) - (event.clientX - box.left);
    const up = at(dot.getAttribute("cy"), box.height) - (event.clientY - box.top);
    const far = across ** 2 + up ** 2;
    if (far < least) [best, least] = [place, far];
  });
  return best;
};
const show = () => {
  const { dots } = parts();
  if (!dots[active]) return;
  dots.forEach((dot) => dot.classList.remove("chosen"));
  dots[active].classList.add("chosen");
  trigger("select", { name: dots[active].dataset.name });
};
element.addEventListener("pointermove", (event) => {
  const place = nearest(event);
  if (place >= 0) activate(place);
});
element.addEventListener("click", (event) => {
  const place = nearest(event);
  if (place < 0) return;
  activate(place);
  show();
});
element.addEventListener("keydown", (event) => {
  if (!event.target.closest?.(".plot svg")) return;
  const { dots } = parts();
  const next = { ArrowRight: active + 1, ArrowLeft: active - 1, Home: 0, End: dots.length - 1 }[event.key];
  if (next !== undefined) activate(next);
  else if (event.key === "Enter" || event.key === " ") show();
  else return;
  event.preventDefault();
});
