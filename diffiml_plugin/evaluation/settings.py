"""Settings of an evaluation, and the names of its metrics."""

from dataclasses import asdict, dataclass

from ..errors import UserError
from .functional import CONFUSION_METRICS, IMAGE_METRICS, RANKING_METRICS, WITH_BEST_THRESHOLD

PIXEL_METRICS = (*CONFUSION_METRICS, 'best_f1', *RANKING_METRICS, 'boundary_f1', 'ece')


@dataclass(frozen=True)
class MetricSettings:
    """Checked settings of :class:`IMLMetric`, whose docstring describes them.

    Raises:
        UserError: If a setting is not one of the allowed ones, or settings exclude each other.
    """

    pixel: tuple[str, ...] = ('f1', 'iou', 'auc')
    image: tuple[str, ...] = ('f1', 'auc', 'acc')
    average: str = 'image'
    mode: str = 'origin'
    threshold: float = 0.5
    best_threshold: str | None = None
    score: str = 'max'
    topk: float = 0.01
    resolution: str = 'original'
    ignore_index: int = 255

    def __post_init__(self) -> None:
        for key, value, allowed in (
            *(('pixel', name, PIXEL_METRICS) for name in self.pixel),
            *(('image', name, IMAGE_METRICS) for name in self.image),
            ('average', self.average, ('image', 'dataset')),
            ('mode', self.mode, ('origin', 'reverse', 'double')),
            ('best_threshold', self.best_threshold, (None, 'image', 'dataset')),
            ('score', self.score, ('max', 'mean', 'topk', 'model')),
            ('resolution', self.resolution, ('original', 'input')),
        ):
            if value not in allowed:
                raise UserError(f'IMLMetric {key}: {value!r} is not one of {allowed}')
        if not 0 <= self.threshold <= 1:
            raise UserError(f'IMLMetric threshold must lie in 0..1, got {self.threshold}')
        if not 0 < self.topk <= 1:
            raise UserError(f'IMLMetric topk must be a share above 0 and up to 1, got {self.topk}')
        if self.average == 'dataset':
            for key in ('mode', 'best_threshold'):
                if getattr(self, key) in ('double', 'image'):
                    raise UserError(
                        f"IMLMetric average='dataset' excludes {key}={getattr(self, key)!r}"
                    )
            if 'boundary_f1' in self.pixel:
                raise UserError("IMLMetric boundary_f1 has no average='dataset'")

    @property
    def thresholded(self) -> list[str]:
        """Pixel metrics that come from a confusion matrix."""
        return [name for name in self.pixel if name in CONFUSION_METRICS]

    @property
    def ranked(self) -> list[str]:
        """Pixel metrics that come from a ranking."""
        return [name for name in self.pixel if name in RANKING_METRICS]

    @property
    def swept(self) -> dict[str, str]:
        """Metrics at the data set's best threshold, with the metric of which each is the best."""
        best = WITH_BEST_THRESHOLD if self.best_threshold == 'dataset' else ()
        at_best = {name: name for name in self.thresholded if name in best}
        return at_best | ({'best_f1': 'f1'} if 'best_f1' in self.pixel else {})

    @property
    def sums(self) -> tuple[str, ...]:
        """Names of the quantities that are summed over images at every threshold."""
        if self.average == 'image':
            return tuple(self.swept)
        return ('tp', 'fp') if self.ranked or self.swept else ()

    @property
    def sorts(self) -> bool:
        """Whether pixels have to be sorted by their probability."""
        return bool(self.ranked or self.swept or self.best_threshold)

    def described(self) -> dict:
        """Return the settings that change a value, for result files."""
        return {k: v for k, v in asdict(self).items() if k not in ('pixel', 'image')}

    def pixel_name(self, name: str) -> str:
        """Return a pixel metric's name, which holds the settings that are not the default."""
        parts = [f'pixel_{name}']
        if self.average != 'image' and name != 'ece':
            parts.append(self.average)
        if self.mode != 'origin':
            parts.append(self.mode)
        if self.resolution != 'original':
            parts.append(self.resolution)
        text = '_'.join(parts)
        if name in RANKING_METRICS or name in ('best_f1', 'ece'):
            return text
        if self.best_threshold and name in WITH_BEST_THRESHOLD:
            return f'{text}_best_{self.best_threshold}'
        return text + self._threshold_suffix()

    def image_name(self, name: str) -> str:
        """Return an image-level metric's name, with the settings that are not the default."""
        suffix = '' if self.score == 'max' else f'_{self.score}'
        return f'img_{name}{suffix}{self._threshold_suffix()}'

    def _threshold_suffix(self) -> str:
        return '' if self.threshold == 0.5 else f'_at_{self.threshold:g}'
