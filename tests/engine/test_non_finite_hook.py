"""Trainings that diverge, and models whose predictions are not finite."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import Runner
from mmseg.registry import HOOKS, METRICS
from mmseg.structures import SegDataSample

from diffiml_plugin.engine.non_finite_hook import _check_losses
from diffiml_plugin.errors import UserError
from diffiml_plugin.models.diffiml.segmentor import DiffIML


def saved(cfg) -> dict[str, dict]:
    return {
        path.name: torch.load(path, weights_only=False) for path in Path(cfg.work_dir).glob('*.pth')
    }


def replace_loss(monkeypatch, at: int, value: float) -> list:
    """Let the model return this value in one iteration; list the files of its batch."""
    batches = []
    original = DiffIML.loss

    def loss(self, inputs, data_samples):
        losses = original(self, inputs, data_samples)
        batches.append([sample.img_path for sample in data_samples])
        if len(batches) == at:
            losses['decode.loss_mask_latent'] += value
        return losses

    monkeypatch.setattr(DiffIML, 'loss', loss)
    return batches


@pytest.mark.parametrize('value, accumulate', [(float('nan'), 1), (float('inf'), 2)])
def test_a_loss_of_nan_stops_before_the_weights_change(value, accumulate, tiny, monkeypatch):
    cfg = tiny(**{'optim_wrapper.accumulative_counts': accumulate})
    batches = replace_loss(monkeypatch, 4, value)
    runner = Runner.from_cfg(cfg)
    with pytest.raises(UserError) as caught:
        runner.train()
    sentence = str(caught.value)
    assert sentence.startswith(f"iteration 4: loss 'decode.loss_mask_latent' is {value} on ")
    assert all(path in sentence for path in batches[3])
    # A checkpoint to resume from.
    assert f'{cfg.work_dir}/iter_2.pth is finite' in sentence
    assert Path(cfg.work_dir, 'last_checkpoint').read_text() == f'{cfg.work_dir}/iter_2.pth'
    (state,) = saved(cfg).values()
    assert state['meta']['iter'] == 2
    if accumulate == 2:
        # With accumulation, iteration 3 makes no step; iteration 4 would make it.
        for name, value in runner.model.named_parameters():
            assert torch.equal(value, state['state_dict'][name]), name


def test_a_training_that_diverges_saves_nothing(tiny, train):
    cfg = tiny(param_scheduler=None)
    cfg.optim_wrapper.update(clip_grad=None)
    cfg.optim_wrapper.optimizer.lr = 1e30
    with pytest.raises(UserError, match="iteration 2: loss '.*there is no checkpoint yet"):
        train(cfg)
    assert not saved(cfg)


@pytest.mark.parametrize('part', ['model', 'ema'])
def test_no_checkpoint_holds_nan(part, tiny):
    cfg = tiny()
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='EMAHook')]

    class Spoil(HOOKS.get('ParamSchedulerHook')):
        priority = 'ABOVE_NORMAL'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            if runner.iter == 3:
                ema = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
                model = runner.model if part == 'model' else ema.ema_model
                with torch.no_grad():
                    next(model.parameters()).view(-1)[0] = float('nan')

    runner = Runner.from_cfg(cfg)
    runner.register_hook(Spoil())
    with pytest.raises(UserError, match='holds nan or infinity after iteration 4'):
        runner.train()
    assert list(saved(cfg)) == ['iter_2.pth']


def test_two_processes_stop_together(tmp_path):
    """Only rank 1 has a bad loss; both ranks report it and neither waits."""
    torch.multiprocessing.start_processes(
        _check_on_rank, (tmp_path / 'meet', tmp_path), nprocs=2, start_method='fork'
    )
    said = [(tmp_path / f'rank{rank}').read_text() for rank in range(2)]
    assert said[0] == said[1] and "loss 'loss_b' is nan on 1.png" in said[0]


def _check_on_rank(rank: int, meet: Path, folder: Path) -> None:
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{meet}', rank=rank, world_size=2
    )
    losses = dict(loss_a=torch.ones(2), loss_b=torch.tensor([float('nan')] if rank else [1.0]))
    sample = SegDataSample(metainfo=dict(img_path=f'{rank}.png'))
    runner = SimpleNamespace(iter=4, work_dir=str(folder))
    good = dict(loss_a=[torch.ones(1), torch.ones(3)], acc=torch.tensor(float('nan')))
    _check_losses(runner, good, [sample])
    try:
        _check_losses(runner, losses, [sample])
    except UserError as error:
        (folder / f'rank{rank}').write_text(str(error))


def spoil_predictions(monkeypatch, which: str) -> None:
    original = DiffIML.forward

    def forward(self, inputs, data_samples=None, mode='tensor'):
        output = original(self, inputs, data_samples, mode)
        if mode == 'predict':
            field = output[0].get(which)
            if which == 'pred_score':
                output[0].set_field(float('nan'), which)
            else:
                field.data[0, 0, 0] = float('nan')
        return output

    monkeypatch.setattr(DiffIML, 'forward', forward)


@pytest.mark.parametrize(
    'stage, field', [('val', 'seg_logits'), ('test', 'uncertainty'), ('test', 'pred_score')]
)
def test_predictions_that_are_not_finite_stop_every_evaluator(
    stage, field, tiny, train, monkeypatch
):
    evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    cfg = tiny(iters=1, val_cfg={}, val_evaluator=evaluator, test_evaluator=evaluator)
    spoil_predictions(monkeypatch, field)
    with pytest.raises(UserError, match=rf'test_seen/.*: the model predicts nan.*{field}'):
        train(cfg) if stage == 'val' else Runner.from_cfg(cfg).test()


@pytest.mark.parametrize('field', ['seg_logits', 'pred_score'])
def test_the_metric_names_the_image(field):
    metric = METRICS.build(dict(type='IMLMetric', score='model'))
    sample = dict(
        img_path='a.png',
        seg_logits=dict(data=torch.rand(1, 4, 4)),
        gt_sem_seg=dict(data=torch.ones(1, 4, 4, dtype=torch.long)),
        pred_score=0.5,
    )
    metric.process({}, [sample])
    if field == 'pred_score':
        sample[field] = float('inf')
    else:
        sample[field]['data'][0, 1, 1] = float('nan')
    with pytest.raises(UserError, match=f'a.png: the model predicts nan.*{field}'):
        metric.process({}, [sample])


def test_a_best_checkpoint_needs_a_number(tiny, train, log_lines):
    cfg = tiny(iters=1, val_cfg={})
    train(cfg)
    # The first two test images are tampered.
    assert log_lines == ['the validation set does not define iml/img_auc (nan)']
    cfg.default_hooks.checkpoint.update(save_best='iml/img_auc', rule='greater')
    with pytest.raises(UserError, match="save_best='iml/img_auc' is nan"):
        train(cfg)
    cfg.default_hooks.checkpoint.save_best = 'iml/pixel_f2'
    with pytest.raises(UserError, match="save_best='iml/pixel_f2' is not a metric.*iml/pixel_f1"):
        train(cfg)
