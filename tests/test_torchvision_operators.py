"""torchvision whose compiled operators cannot be loaded, as a CUDA build beside a CPU torch."""

import subprocess
import sys
from pathlib import Path

import pytest

# Like torchvision's own import without its compiled file.
TORCHVISION = """
import torch
torch.library.register_fake('torchvision::nms')(lambda dets, scores, threshold: dets)
torch.library.register_fake('torchvision::qnms')(lambda dets, scores, threshold: dets)
LOADED = True
"""
RUN = """
from diffiml_plugin.torchvision_operators import declare_operators
declare_operators()
import torch, torchvision
assert torchvision.LOADED
try:
    torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
except NotImplementedError:
    print('not implemented')
"""


@pytest.mark.parametrize(
    'content, printed, fault',
    [
        (TORCHVISION, 'not implemented', ''),
        ("raise RuntimeError('another fault')", '', 'RuntimeError: another fault'),
    ],
)
def test_missing_operators_are_declared(content, printed, fault, tmp_path, run_env):
    (tmp_path / 'torchvision.py').write_text(content)
    (tmp_path / 'timm.py').write_text('')
    # mmseg has a backbone for timm, which is not what is tested here.
    (tmp_path / 'sitecustomize.py').write_text(
        "import sys, types\nsys.modules['diffiml_plugin'] = package = types.ModuleType('d')\n"
        f'package.__path__ = [{str(Path("diffiml_plugin").resolve())!r}]\n'
    )
    env = run_env | {'PYTHONPATH': f'{tmp_path}:{run_env["PYTHONPATH"]}'}
    done = subprocess.run([sys.executable, '-c', RUN], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == printed and fault in done.stderr, done.stderr
    assert (done.returncode == 0) == (not fault)
