"""Averages of two checkpoints."""

import torch

TOOL = 'tools/model_converters/average_weights.py'


def save(path, **tensors):
    torch.save(dict(state_dict={k.replace('__', '.'): v for k, v in tensors.items()}), path)
    return path


def test_only_the_prefix_is_averaged(run_tool, tmp_path):
    count = torch.tensor(7)
    a = save(
        tmp_path / 'a.pth', backbone__w=torch.ones(3), backbone__n=count, head__w=torch.ones(2)
    )
    b = save(tmp_path / 'b.pth', backbone__w=torch.full((3,), 5.0), backbone__n=count * 2)
    out = tmp_path / 'out.pth'
    run_tool(TOOL, a, b, out, '--share', 0.75)
    found = torch.load(out)['state_dict']
    assert found['backbone.w'].tolist() == [2, 2, 2]
    assert found['backbone.n'] == 7 and found['head.w'].tolist() == [1, 1]


def test_a_file_of_a_package(run_tool, tmp_path):
    shipped = 'package://diffiml_plugin/release/model/diffusion_pytorch_model.safetensors'
    run_tool(TOOL, shipped, shipped, tmp_path / 'out.pth')
    names = torch.load(tmp_path / 'out.pth')['state_dict']
    assert any(name.startswith('backbone.') for name in names)


def test_mistakes(run_tool, tmp_path):
    a = save(tmp_path / 'a.pth', backbone__w=torch.ones(3))
    b = save(tmp_path / 'b.pth', backbone__w=torch.ones(4))
    out = tmp_path / 'out.pth'
    assert "'backbone.w' differs in shape" in run_tool(TOOL, a, b, out, status=1)
    assert 'there is none' in run_tool(TOOL, a, b, out, '--prefix', 'x.', status=1)
    assert '--share must lie in 0..1' in run_tool(TOOL, a, b, out, '--share', 2, status=1)
    assert not out.exists()
