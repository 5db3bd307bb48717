"""PGD: projected gradient descent with a constant step size, by foolbox."""

import importlib
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from embedshift.encoders.attack.budget import Budget
from embedshift.errors import MissingExtra

Loss = Callable[[Tensor], Tensor]

# The length of all steps together, as a multiple of the budget (Madry et al. 2018).
REACH = 2.5


def pgd(loss: Loss, start: Tensor, original: Tensor, budget: Budget, steps: int) -> Tensor:
    """Returns the pixels after the last step."""
    foolbox, eagerpy = library("foolbox"), library("eagerpy")
    kinds = {"linf": "LinfProjectedGradientDescentAttack", "l2": "L2ProjectedGradientDescentAttack"}
    attack = getattr(foolbox.attacks, kinds[budget.norm])(rel_stepsize=REACH / steps, steps=steps, random_start=True)
    # It climbs a classifier's loss; this is foolbox's own way to use another one, here that of the embedding.
    attack.get_loss_fn = lambda model, labels: lambda inputs: eagerpy.astensor(-loss(inputs.raw))
    attack.get_random_start = lambda inputs, epsilon: eagerpy.astensor(start)
    model = foolbox.PyTorchModel(nn.Identity().eval(), bounds=(0, 255), device=original.device)
    nobody = foolbox.Misclassification(original.new_zeros(len(original)).long())
    found: Tensor = attack.run(model, original, nobody, epsilon=budget.radius)
    return found.detach()


def library(name: str) -> Any:
    """Imports a library of the extra `attack`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra("`attack`", "attack") from error
