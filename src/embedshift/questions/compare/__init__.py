"""What differs between encoders on the same images and views?"""

from embedshift.registry import COMMANDS, Command

SENTENCE = "Compare studies of the same images and views: encoders, precisions or checkpoints, paired by image."
COMMANDS.add("compare", Command(__name__, SENTENCE, order=13))
