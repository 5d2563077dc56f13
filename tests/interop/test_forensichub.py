"""DiffIML in ForensicHub's registry; run by `make test-imdlbenco`.

The release on PyPI has registries, data sets and evaluators, but no training scripts: these are
IMDL-BenCo's `train_one_epoch` and `test_one_epoch`, as in ForensicHub's repository.
"""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffiml_plugin.errors import UserError
from diffiml_plugin.interop import forensichub, imdlbenco

from .scoring import CONFIG, SIZE, scores_of_the_plugin

SCRIPT = """
import json, sys
import torch
from ForensicHub.common.evaluation import ImageAUC, PixelAUC, PixelF1
from ForensicHub.common.utils.yaml import load_yaml_config, split_config
from ForensicHub.core.base_model import BaseModel
from ForensicHub.registry import DATASETS, MODELS, build_from_registry
from IMDLBenCo.training_scripts.tester import test_one_epoch
from IMDLBenCo.training_scripts.trainer import train_one_epoch
from IMDLBenCo.training_scripts.utils import misc

args, model, train, tests, _ = split_config(load_yaml_config(sys.argv[1]))
misc.init_distributed_mode(args)
torch.manual_seed(0)
model = build_from_registry(MODELS, model)
assert isinstance(model, BaseModel)
parallel = torch.nn.parallel.DistributedDataParallel(
    model, device_ids=[0], find_unused_parameters=True)
def loader(settings):
    data = build_from_registry(DATASETS, settings)
    return torch.utils.data.DataLoader(data, batch_size=2)
device = torch.device('cpu')
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
trained = train_one_epoch(
    parallel, loader(train), optimizer, device, 0, misc.NativeScalerWithGradNormCount(), args=args)
torch.save(dict(model=model.state_dict()), args.log_dir + '/checkpoint-0.pth')
found = test_one_epoch(
    parallel, loader(tests[0]), [PixelF1(), PixelAUC()], device, 0, args=args)
found |= test_one_epoch(parallel, loader(tests[1]), [ImageAUC()], device, 0, args=args)
with open(args.log_dir + '/found.json', 'w') as file:
    json.dump(trained | found, file)
"""


def write_settings(path: Path, lists: dict[str, Path]) -> None:
    def data(name: str) -> dict:
        settings = dict(path=str(lists[name]), image_size=SIZE, is_resizing=True)
        return dict(name='JsonDataset', init_config=settings)

    # JSON is YAML.
    path.write_text(
        json.dumps(
            dict(
                model=dict(name='DiffIML', init_config=dict(config=CONFIG, weights='none')),
                train_dataset=data('train'),
                test_dataset=[data('tampered'), data('mixed')],
                log_dir=str(path.parent),
                **dict(lr=1e-3, min_lr=0, epochs=1, warmup_epochs=0, accum_iter=1),
                **dict(test_batch_size=2, if_not_amp=True, if_predict_label=False),
                **dict(no_model_eval=False, dist_on_itp=False, dist_url='env://'),
            )
        )
    )


@pytest.mark.imdlbenco
@pytest.mark.skipif(
    importlib.util.find_spec('ForensicHub') is None, reason='forensichub is not installed'
)
def test_metrics_in_forensichub_equal_those_of_the_plugin(lists, run_env, tmp_path):
    script, settings = tmp_path / 'script.py', tmp_path / 'settings.yaml'
    script.write_text(SCRIPT)
    write_settings(settings, lists)
    command = [sys.executable, '-m', 'diffiml_plugin.interop.forensichub', script, settings]
    done = subprocess.run(command, env=run_env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    theirs = json.loads((tmp_path / 'found.json').read_text())
    assert theirs['loss'] > 0
    imdlbenco.export_weights(tmp_path / 'checkpoint-0.pth', tmp_path / 'out.safetensors')
    mine = scores_of_the_plugin(tmp_path / 'out.safetensors', lists['tampered'])
    assert mine['iml/pixel_f1_input'] == pytest.approx(theirs['pixel-level F1'], abs=1e-4)
    assert mine['iml/pixel_auc_input'] == pytest.approx(theirs['pixel-level AUC'], abs=1e-4)
    mixed = scores_of_the_plugin(tmp_path / 'out.safetensors', lists['mixed'])
    assert mixed['iml/img_auc_model'] == pytest.approx(theirs['image-level AUC'], abs=1e-4)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'IMDLBenCo', None)
    with pytest.raises(UserError, match='imdlbenco cannot be imported'):
        forensichub.register()
