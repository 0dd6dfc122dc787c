"""The nine-step procedure of training to a precision target (S-111), logged by number when `training.until` is set.

1 choose N examples at random; 2 small random weights, the target and the learning rate; 3 present a pattern and its
target; 4 outputs of the hidden and output units; 5 errors of the output and hidden units; 6 adjustments of weights and
thresholds; 7 apply them; 8 test the target, else back to 3; 9 save weights and thresholds to a file.
"""

from typing import TYPE_CHECKING, Any

from netwright.language import say
from netwright.training.progress import number
from netwright.training.stopping import Condition

if TYPE_CHECKING:
    from netwright.training.job import Job


class Procedure:
    """Says which of the nine steps a training is at; silent without a target."""

    def __init__(self, job: "Job", until: Condition | None) -> None:
        self.job, self.until = job, until

    def begin(self) -> None:
        if self.until is None:
            return
        count = self.job.dataset.examples["train"]
        rate = self.job.recipe.table("optimizer").get("lr")
        self._say(
            1, say("{count} training examples in random order (seed {seed})", count=count, seed=self.job.recipe.seed)
        )
        self._say(2, say("random first weights, target {target}, learning rate {rate}", target=self.until, rate=rate))

    def epoch(self, epoch: int, values: dict[str, Any], stopped: str) -> None:
        if self.until is None:
            return
        self._say(3, say("epoch {epoch}: every example was presented with its target", epoch=epoch))
        self._say(4, say("outputs of hidden and output units were computed"))
        self._say(5, say("errors of output and hidden units were computed (back-propagation)"))
        self._say(6, say("adjustments of weights and thresholds follow from them"))
        self._say(7, say("adjustments were applied after each batch"))
        found = number(values.get(self.until.metric))
        ends = bool(stopped) or epoch >= self.job.training["epochs"]
        verdict = say("met") if stopped == "until" else say("not met") if ends else say("not met, back to 3")
        self._say(
            8,
            say(
                "{metric} = {found}, target {target}: {verdict}",
                metric=self.until.metric,
                found=found,
                target=self.until,
                verdict=verdict,
            ),
        )
        if ends:
            self._say(9, say("weights and thresholds are saved; netwright resume continues from them"))

    def _say(self, step: int, text: str) -> None:
        self.job.progress.say(f"[{step}] {text}")
