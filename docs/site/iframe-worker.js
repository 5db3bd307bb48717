/* A page that was opened as a file may not start a worker. This stands in for one: the worker's script runs in a hidden frame. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      this.inside = this.frame.contentWindow;
      this.inside.parentOfWorker = {
        receive: (data) => {
          const event = new MessageEvent("message", { data });
          this.dispatchEvent(event);
          if (this.onmessage) this.onmessage(event);
        },
      };
      this.inside.document.open();
      this.inside.document.write(
        `<!doctype html><script>
          postMessage = (data) => parentOfWorker.receive(data);
          importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((done) => {
            const script = document.createElement("script");
            script.src = url;
            script.onload = done;
            document.body.append(script);
          })), Promise.resolve());
        <\/script><body><script src="${url}"><\/script>`,
      );
      this.inside.document.close();
      this.ready = new Promise((done) => this.inside.addEventListener("load", done, { once: true }));
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
