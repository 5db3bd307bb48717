from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, setting, switched

# The columns of a study with heads, and the names of the parts into which a shift is split.
# Lists in the rows: [L * H], layer by layer, and [L]; then numbers.
HEADS, MLPS = "heads", "mlps"
SINGLE = {"input": "head_input", "pattern": "head_pattern", "rest": "head_rest"}
# What the table calls an MLP; a head is called by its number.
MLP = "mlp"
# With `heads_tokens`, by term: lists [1 + cells], class and register tokens together, then patch by patch.
TOKENS = {"pattern": "tokens_pattern", "values": "tokens_values"}


@dataclass(frozen=True)
class Switches:
    heads: bool = setting(False, "Split the shift by the heads and MLPs of the encoder.")
    heads_tokens: bool = setting(False, "Also split the last block's heads by token.", rare=True)
    bank: str | None = setting(None, "File of texts, one per line, that describe the heads.", rare=True)


FIGURES = {
    "heads_map": ("21", "Which heads and MLPs carry the shift"),
    "heads_bars": ("22", "How much of the shift heads, MLPs and input carry"),
    "head_tokens": ("24", "Attention weights or token values: what carries the shift"),
}
SENTENCE = "Which heads and layers carry the shift?"
QUESTION = Question(__name__, SENTENCE, order=62, switches=Switches, is_asked=switched, figures=FIGURES)
QUESTIONS.add("heads", QUESTION)
