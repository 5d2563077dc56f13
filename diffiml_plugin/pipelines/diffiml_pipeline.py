"""DiffIML as a diffusers pipeline."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from huggingface_hub import create_repo, snapshot_download
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..apis.batching import Job, View, predict_views
from ..apis.components import COMPONENT_CLASSES, join_model
from ..apis.model import find_model, load_model
from ..apis.model_data import as_pipeline, check_model, inside, is_whole, read_pretrained
from ..errors import UserError
from ..models.diffiml.noise_schedule import NOISE_SCHEDULERS, registry_config
from ..models.diffiml.sampler import DiffusionSampler, SolverSettings, step_kwargs
from ..tiling import Cutting
from .component import DiffIMLComponent, build, self_contained
from .encoder import DiffIMLEncoder
from .image_processor import OUTPUT_TYPES, DiffIMLImageProcessor, PipelineImage
from .model_card import make_card
from .noise import NoiseSource
from .output import DiffIMLPipelineOutput
from .unet import DiffIMLUNet
from .vae import DiffIMLVAE

_PARTS: tuple[type[DiffIMLComponent], ...] = (DiffIMLEncoder, DiffIMLUNet, DiffIMLVAE)
# A segmentor without any setting of its own.
_PLAIN = dict(
    type='DiffIML', decode_head=dict(type='DiffusionHead', sampler=dict(type='DiffusionSampler'))
)
_UPLOAD = ('repo_id', 'commit_message', 'private', 'token', 'create_pr')
_MAX_CARD = 1_000_000


class DiffIMLPipeline(DiffusionPipeline):
    """Localizes tampering by solving the learned score with any diffusers scheduler.

    ``pipe = DiffIMLPipeline.from_pretrained(FOLDER); pipe(image).masks[0]``

    Args:
        encoder (DiffIMLEncoder): Encoder of images.
        unet (DiffIMLUNet): Denoiser.
        vae (DiffIMLVAE): Codec of masks.
        scheduler (SchedulerMixin): Solver; to build another one, call its
            ``from_config(pipe.scheduler.config)``.
        segmentor (dict, optional): What belongs to none of them of the segmentor's config:
            calibration, image score, and the usual settings of the solver. Defaults to that of the
            segmentor that the encoder was taken from, or else to no such settings.

    Raises:
        UserError: If the components do not fit each other.
    """

    def __init__(
        self,
        encoder: DiffIMLEncoder,
        unet: DiffIMLUNet,
        vae: DiffIMLVAE,
        scheduler: SchedulerMixin,
        segmentor: dict | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(encoder=encoder, unet=unet, vae=vae, scheduler=scheduler)
        self.register_to_config(segmentor=segmentor or encoder.segmentor or _PLAIN)
        # So that a pipeline of `pipe.components` has the same settings.
        encoder.segmentor = self.config.segmentor
        self._assembled: tuple = ()
        # Card of the folder that these components were loaded from.
        self._card: tuple[str, dict] | None = None
        self._assemble()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> 'DiffIMLPipeline':
        """Load a pipeline that :meth:`save_pretrained` wrote; no code in it is run.

        Args:
            pretrained_model_name_or_path (str | Path): Folder, or name on the Hugging Face Hub.
            **kwargs: Passed to diffusers; among them components that replace those of the folder.

        Raises:
            UserError: If :meth:`save_pretrained` did not write the folder, it names other classes
                or files, or its weights do not fit its config.
        """
        folder = Path(pretrained_model_name_or_path)
        options = dict(use_safetensors=True) | kwargs
        if not folder.is_dir():
            folder = Path(cls.download(str(pretrained_model_name_or_path), **options))
        # Without this check, diffusers would load any class that the index names.
        config, weights = read_pretrained(folder)
        if is_whole(folder):
            dtype = options.get('dtype') or options.get('torch_dtype')
            network, _ = load_model(config, weights)
            options = _taken_out(network, config, dtype) | options
        pipe = super().from_pretrained(str(folder), **options)
        if not kwargs.keys() & pipe.components.keys():
            pipe._card = _read_card(folder), dict(pipe.components)
        return pipe

    @classmethod
    def from_mmseg(
        cls, model: str | Path | Config | None = None, weights: str | Path | None = None
    ) -> 'DiffIMLPipeline':
        """Make a pipeline from a trained segmentor.

        Args:
            model: Config, work dir or folder, as for :class:`DiffIMLInferencer`.
            weights (str | Path, optional): Checkpoint.

        Raises:
            UserError: If config or weights are missing, do not fit each other, or are not those of
                a DiffIML model.
        """
        source = find_model(model, weights)
        config = source.config.copy()
        config.model = self_contained(config.model.to_dict())
        network, config = load_model(config, source.weights)
        parts = _taken_out(network, config)
        solver = network.decode_head.solver.settings.scheduler
        return cls(**parts, scheduler=NOISE_SCHEDULERS.build(solver))

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str:
        """Download the data of a pipeline from the Hugging Face Hub; return its folder.

        diffusers' own download refuses pipelines with components of other packages.

        Args:
            pretrained_model_name (str): Name of the repository.
            **kwargs: ``cache_dir``, ``force_download``, ``local_files_only``, ``revision`` and
                ``token``, as in diffusers; others have no effect.

        Raises:
            UserError: If it cannot be downloaded.
        """
        names = ('cache_dir', 'force_download', 'local_files_only', 'revision', 'token')
        options = {k: kwargs[k] for k in names if kwargs.get(k) is not None}
        patterns = ['*.json', '*.safetensors', 'README.md']
        try:
            return snapshot_download(pretrained_model_name, allow_patterns=patterns, **options)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f'{pretrained_model_name!r} is neither a folder nor a repository that can be '
                f'downloaded: {reason}'
            ) from error

    @classmethod
    def extract_init_dict(cls, config_dict: dict, **kwargs: Any) -> tuple:
        """Read an index, as diffusers does; one of an earlier version has all parts in one."""
        if 'model' in config_dict:
            parts = {name: list(place) for name, place in COMPONENT_CLASSES.items()}
            config_dict = {k: v for k, v in config_dict.items() if k != 'model'} | parts
        return super().extract_init_dict(config_dict, **kwargs)

    def save_pretrained(
        self,
        save_directory: str | Path,
        safe_serialization: bool = True,
        variant: str | None = None,
        max_shard_size: int | str | None = None,
        push_to_hub: bool = False,
        *,
        card: str | None = None,
        metrics: Mapping[str, Mapping[str, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write weights (safetensors), configs and a model card.

        Args:
            save_directory (str | Path): Folder to write to.
            safe_serialization (bool): Passed to diffusers. Defaults to True.
            variant (str, optional): Passed to diffusers.
            max_shard_size (int | str, optional): Passed to diffusers.
            push_to_hub (bool): Whether to upload the folder to the Hugging Face Hub. Defaults to
                False.
            card (str, optional): Text of the model card in Markdown. Without text and metrics, the
                card of the folder is kept that the pipeline was loaded from.
            metrics (Mapping[str, Mapping[str, float]], optional): Metrics for the card, as
                data set -> metric -> value.
            **kwargs: ``repo_id``, ``commit_message``, ``private``, ``token`` and ``create_pr`` of
                an upload; others are passed to diffusers.
        """
        folder = str(save_directory)
        upload = {key: kwargs.pop(key) for key in _UPLOAD if key in kwargs}
        super().save_pretrained(folder, safe_serialization, variant, max_shard_size, **kwargs)
        text = self._kept_card() if card is None and metrics is None else None
        path = Path(folder) / 'README.md'
        path.write_text(text or str(make_card(card, metrics or {}, self)), encoding='utf-8')
        if push_to_hub:
            self._push(folder, upload.pop('repo_id', Path(folder).name), **upload)

    def push_to_hub(
        self,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        safe_serialization: bool = True,
        variant: str | None = None,
        subfolder: str | None = None,
        *,
        card: str | None = None,
        metrics: Mapping[str, Mapping[str, float]] | None = None,
    ) -> str:
        """Upload what :meth:`save_pretrained` writes, with the model card.

        diffusers' own method would replace the card by an empty one.

        Args:
            repo_id (str): Name of the repository.
            commit_message (str, optional): Message of the commit.
            private (bool, optional): Whether a new repository is private.
            token (str, optional): Token of the Hub.
            create_pr (bool): Whether to open a pull request. Defaults to False.
            safe_serialization (bool): Passed to diffusers. Defaults to True.
            variant (str, optional): Passed to diffusers.
            subfolder (str, optional): Folder of the repository.
            card (str, optional): Text of the model card, as for :meth:`save_pretrained`.
            metrics (Mapping[str, Mapping[str, float]], optional): Metrics for the card, as for
                :meth:`save_pretrained`.

        Returns:
            str: Address of the commit.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, safe_serialization, variant, card=card, metrics=metrics)
            return self._push(folder, repo_id, commit_message, private, token, create_pr, subfolder)

    def _push(
        self,
        folder: str,
        repo_id: str,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        create_pr: bool = False,
        subfolder: str | None = None,
    ) -> str:
        repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        return self._upload_folder(
            folder,
            repo_id,
            token=token,
            commit_message=commit_message,
            create_pr=create_pr,
            subfolder=subfolder,
        )

    def _kept_card(self) -> str | None:
        """Return the card that came with these components, if none was replaced since."""
        if self._card is None:
            return None
        text, components = self._card
        same = all(components[name] is one for name, one in self.components.items())
        return text if same else None

    @property
    def network(self) -> nn.Module:
        """The MMSegmentation segmentor that the components' own modules make up."""
        return self._assemble()[1]

    @property
    def image_processor(self) -> DiffIMLImageProcessor:
        """What turns images into the encoder's inputs, and maps into outputs."""
        return self._assemble()[2]

    def _assemble(self) -> tuple:
        """Join the components' modules to a segmentor, again whenever one was replaced."""
        parts = (self.encoder, self.unet, self.vae)
        if not self._assembled or self._assembled[0] != parts:
            configs = {cls.component: one.config for cls, one in zip(_PARTS, parts, strict=True)}
            segmentor, pipeline = join_model(configs, self.config.segmentor)
            segmentor['decode_head']['sampler']['scheduler'] = _solver_config(self.scheduler)
            check_model(segmentor, pipeline, type(self).__name__)
            network = build(segmentor).eval()
            for part in parts:
                for place in part.places:
                    owner, _, name = place.rpartition('.')
                    module = part.network.get_submodule(place)
                    setattr(network.get_submodule(owner), name, module)
            head = network.decode_head
            head.codec.vae = head.vae
            processor = DiffIMLImageProcessor(
                network.data_preprocessor, as_pipeline(pipeline), head.vae.downsample_factor
            )
            self._assembled = parts, network, processor
        return self._assembled

    @torch.inference_mode()
    def __call__(
        self,
        image: PipelineImage | Sequence[PipelineImage],
        num_inference_steps: int | None = None,
        ensemble_size: int | None = None,
        noise_scale: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Tensor | Sequence[Tensor] | None = None,
        seed: int | None = None,
        tile: int | str | None = 'auto',
        batch_size: int = 1,
        threshold: float | None = None,
        output_type: str = 'np',
        return_dict: bool = True,
        full_resolution: bool = False,
    ) -> DiffIMLPipelineOutput | tuple:
        """Localize tampering in images.

        Args:
            image: Pillow image, file, (H, W, 3) RGB array (uint8, or floats in 0..1), (3, H, W) or
                (B, 3, H, W) tensor of floats in 0..1, or list of these.
            num_inference_steps (int, optional): Number of solver steps; as configured by default.
            ensemble_size (int, optional): Number N of noise seeds per image; as configured by
                default.
            noise_scale (float, optional): Factor of the initial noise; as configured by default.
            generator (torch.Generator | Sequence[torch.Generator], optional): Generator of the
                noise, or one generator per image. Without a generator, the same image always gives
                the same result.
            latents (Tensor | Sequence[Tensor], optional): Standard normal noise to start from: one
                (N, C, h, w) tensor per image, or (B N, C, h, w) image by image. Tiles of an image
                all start from it.
            seed (int, optional): Seed of the noise, instead of a generator; as configured by
                default.
            tile (int | str, optional): Side of the tiles in pixels, as in
                :meth:`DiffIMLInferencer.stream`. Defaults to 'auto'.
            batch_size (int): Largest number of images of one size, or tiles, that go through the
                model at once. Defaults to 1.
            threshold (float, optional): Threshold of the masks, 0..1; as configured by default.
            output_type (str): Type of the maps: 'np', 'pil' or 'pt'. Defaults to 'np'.
            return_dict (bool): Whether to return a :class:`DiffIMLPipelineOutput` instead of a
                plain tuple. Defaults to True.
            full_resolution (bool): Whether tiles are cut out of the photograph and not of the
                network's input, see :class:`Cutting`. Defaults to False.

        Raises:
            UserError: If an image or a setting cannot be used.
        """
        # 1. Check the arguments.
        _check_inputs(generator, seed, threshold, output_type)
        solver = self._solver(num_inference_steps, ensemble_size, noise_scale, seed)
        sources = self.image_processor.load(image)
        noise = NoiseSource(solver, latents, generator, len(sources))
        cutting = Cutting(tile, full_resolution=full_resolution)

        # 2. Read the images, cut large ones into tiles, and localize batch by batch.
        # MMEngine's preprocessor only learns its device from this call.
        self.network.data_preprocessor.to(self.device)
        jobs: dict[Job, int] = {}
        predict = partial(self._predict, jobs=jobs, solver=solver, noise=noise)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            for views in self.image_processor.batches(sources, cutting, batch_size):
                predict_views(predict, views)

        # 3. Bring the maps to the images' own size and to the type that was asked for.
        output = self._collect(jobs, threshold, output_type)
        return output if return_dict else output.to_tuple()

    def localize(
        self,
        inputs: Tensor,
        metas: Sequence[dict],
        images: Sequence[int],
        solver: DiffusionSampler,
        noise: NoiseSource,
    ) -> Tensor:
        """Localize tampering in one batch of the encoder's inputs.

        Args:
            inputs (Tensor): (B, 3, H, W) normalized images.
            metas (Sequence[dict]): Their metas, with the ``pixel_hash``.
            images (Sequence[int]): Number of the image that each input is of.
            solver (DiffusionSampler): Settings of the solver.
            noise (NoiseSource): Source of the noise.

        Returns:
            Tensor: (B, K, H, W) maps of the segmentor's head.
        """
        network = self.network
        head = network.decode_head

        # 1. Encode the images once for all steps and members.
        condition = self.unet.project(self.encoder(inputs))  # B x W x h x w
        # Under autocast the latents keep the weights' precision.
        condition = condition.to(head.noise_schedule.alphas_cumprod.dtype)

        # 2. Draw the noise of all members.
        identities = [meta.get('pixel_hash', '') for meta in metas]
        shape = (head.codec.channels, *condition.shape[-2:])
        latents = noise.draw(images, identities, shape).to(condition)  # (N B) x C x h x w
        generators = noise.generators(images, identities)

        # 3. Denoise, all at once or in parts.
        denoised = [
            self.denoise(latents[part], own_condition, solver, generators[part])
            for part, own_condition in solver.parts(len(latents), condition)
        ]
        members = torch.cat(denoised).unflatten(0, (-1, len(condition)))  # N x B x C x h x w

        # 4. Decode the members, and merge them.
        localization = head.decode_members(members, metas)
        return network.stack_maps(localization, tuple(inputs.shape[-2:]))

    def denoise(
        self,
        latents: Tensor,
        condition: Tensor,
        solver: DiffusionSampler,
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """Run the denoising loop.

        Args:
            latents (Tensor): (N B, C, h, w) standard normal noise, member by member.
            condition (Tensor): (B, W, h, w) projected condition of the images.
            solver (DiffusionSampler): Settings of the solver.
            generators (Sequence[torch.Generator]): Generator of each latent for stochastic
                solvers.

        Returns:
            Tensor: (N B, C, h, w) clean latents.
        """
        # The pipeline's scheduler with the noise levels of the UNet's training, at its first step.
        scheduler = solver.start(latents.device)
        extra = step_kwargs(scheduler, generators)
        latents = latents * solver.settings.noise_scale * scheduler.init_noise_sigma
        for timestep in self.progress_bar(scheduler.timesteps):
            model_input = scheduler.scale_model_input(latents, timestep)
            output = self.unet(
                model_input,
                timestep,
                condition,
                projected=True,
                prediction_type=solver.prediction_type,
            ).sample
            latents = scheduler.step(output, timestep, latents, **extra).prev_sample
        return latents

    def _solver(
        self,
        num_inference_steps: int | None,
        ensemble_size: int | None,
        noise_scale: float | None,
        seed: int | None,
    ) -> DiffusionSampler:
        """Return the configured solver with the pipeline's scheduler and a call's settings."""
        scheduler = _solver_config(self.scheduler)
        settings = SolverSettings(num_inference_steps, ensemble_size, noise_scale, seed, scheduler)
        return self.network.decode_head.solver_with(settings)

    def _predict(
        self,
        views: Sequence[View],
        jobs: dict[Job, int],
        solver: DiffusionSampler,
        noise: NoiseSource,
    ) -> list[SegDataSample]:
        """Predict a batch of views as the segmentor does, but by :meth:`localize`."""
        images = [jobs.setdefault(view.job, len(jobs)) for view in views]
        network = self.network
        batch = network.data_preprocessor(pseudo_collate([view.data for view in views]), False)
        samples = batch['data_samples']
        metas = [dict(sample.metainfo) for sample in samples]
        localize = partial(self.localize, images=images, solver=solver, noise=noise)
        maps = _in_windows(network, localize, batch['inputs'], metas)
        return network.postprocess_result(maps, samples)

    def _collect(
        self, jobs: Sequence[Job] | Mapping[Job, int], threshold: float | None, output_type: str
    ) -> DiffIMLPipelineOutput:
        threshold = self.network.decode_head.threshold if threshold is None else threshold
        output = DiffIMLPipelineOutput([], [], [], [], [])
        for job in jobs:
            if job.fault:
                raise UserError(job.fault)
            maps = {name: torch.from_numpy(one) for name, one in job.upright_maps().items()}
            maps['mask'] = (maps['probability'] > threshold).to(torch.uint8)
            for name, values in (
                ('probability', output.probabilities),
                ('mask', output.masks),
                ('edge', output.edges),
                ('uncertainty', output.uncertainties),
            ):
                values += self.image_processor.postprocess(maps[name][None, None], output_type)
            output.scores.append(max(job.scores))
        return output


def _check_inputs(generator: Any, seed: int | None, threshold: float | None, kind: str) -> None:
    if kind not in OUTPUT_TYPES:
        raise UserError(f'output_type must be one of {", ".join(OUTPUT_TYPES)}, got {kind!r}')
    if generator is not None and seed is not None:
        raise UserError('give a generator or a seed, not both')
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f'threshold must lie in 0..1, got {threshold}')


def _in_windows(
    network: nn.Module,
    localize: Callable[[Tensor, list[dict]], Tensor],
    inputs: Tensor,
    metas: list[dict],
) -> Tensor:
    """Localize in the whole inputs, or in the sliding windows of the segmentor's ``test_cfg``."""
    if network.test_cfg.get('mode', 'whole') == 'whole':
        return localize(inputs, metas)
    windows = SimpleNamespace(
        test_cfg=network.test_cfg, out_channels=network.out_channels, encode_decode=localize
    )
    return EncoderDecoder.slide_inference(windows, inputs, metas)


def _solver_config(scheduler: SchedulerMixin) -> dict:
    return registry_config(type(scheduler).__name__, scheduler.config)


def _taken_out(
    network: nn.Module, config: Config, dtype: torch.dtype | None = None
) -> dict[str, Any]:
    """Take a segmentor apart into the pipeline's arguments, except for the scheduler."""
    parts = {cls.component: cls.from_segmentor(network, config).to(dtype) for cls in _PARTS}
    return parts | dict(segmentor=parts['encoder'].segmentor)


def _read_card(folder: Path) -> str | None:
    path = inside(folder / 'README.md', folder)
    if not path.is_file() or path.stat().st_size > _MAX_CARD:
        return None
    return path.read_text(encoding='utf-8', errors='replace')
