import importlib.util
from functools import cache

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from configs.errors import BadRequest
from model.encoders.efficientnet_pytorch import efficientnet_pytorch_key
from model.onenip.network import OneNIP
from model.onenip.published import published_kind
from model.onenip.reconstruction import neck
from tests.model.onenip.test_network import still
from tests.model.published_file import encoder_shapes, filled, published_shapes

SMALL = {"encoder": "tf_efficientnet_b4", "size": 64, "encoder_layers": 1, "decoder_layers": 1}
UNIAD = {"prompt": "none", "refiner": False}
NORM, BACKBONE = "module.reconstruction.transformer.encoder.layers.0.norm1.bias", "module.backbone._bn0.bias"
FC = {"_fc.weight": (1000, 1792), "_fc.bias": (1000,)}


@cache
def encoder_state():
    return {f"module.backbone.{key}": value for key, value in filled(encoder_shapes() | FC).items()}


def file_of(network, *, encoder=False):
    """A file as the authors publish it, without its encoder where nothing asks for it."""
    state = {f"module.reconstruction.{key}": value for key, value in network.reconstruction.state_dict().items()}
    return {"state_dict": state | (encoder_state() if encoder else {})}


@cache
def shapes_of(**changed):
    """A network of which nothing is allocated."""
    with torch.device("meta"):
        return OneNIP(**SMALL | changed)


@pytest.mark.parametrize("switch", [{}, UNIAD])
def test_a_published_file_fills_every_tensor_and_says_size_and_kind_itself(tmp_path, switch):
    content = file_of(OneNIP("tf_efficientnet_b4", size=64, **switch), encoder=True)
    torch.save(content, tmp_path / "ckpt.pkl")
    network = OneNIP.from_checkpoint(tmp_path / "ckpt.pkl")
    state = content["state_dict"]
    for key, value in network.state_dict().items():
        if key.startswith("encoder.net."):
            key = f"backbone.{efficientnet_pytorch_key(key.removeprefix('encoder.net.'))}"
        assert key == "normaliser" or torch.equal(value, state[f"module.{key}"]), key
    assert network.size == (64, 64)
    assert network.arguments["prompt"] == switch.get("prompt", "dynamic")
    assert not any(module.training for module in network.modules())


def test_names_may_lack_their_beginning_and_the_encoder_may_be_kept():
    content = file_of(OneNIP(**SMALL))
    network = OneNIP(**SMALL)
    before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    network.calibrate([torch.ones(1, 1, 2, 2)])
    bare = {key.removeprefix("module."): value for key, value in content["state_dict"].items()}
    network.load_published(bare)
    learned = network.reconstruction.state_dict()
    assert all(torch.equal(value, bare[f"reconstruction.{key}"]) for key, value in learned.items())
    assert all(torch.equal(value, before[key]) for key, value in network.encoder.state_dict().items())
    assert network.normaliser == 0, "a scale of other weights would be kept"


def static_padding(net, side_px):
    """timm's net with the padding that efficientnet_pytorch fixes when it is built: that of images of `side_px`."""
    sizes = {}
    convolutions = [module for module in net.modules() if type(module).__name__ == "Conv2dSame"]
    hooks = [
        module.register_forward_pre_hook(lambda module, args: sizes.update({module: args[0].shape[-1]}))
        for module in convolutions
    ]
    net(torch.zeros(1, 3, side_px, side_px))
    for hook in hooks:
        hook.remove()
    for module in convolutions:
        kernel, stride = module.kernel_size[0], module.stride[0]
        total = max((-(-sizes[module] // stride) - 1) * stride + kernel - sizes[module], 0)
        sides = (total // 2, total - total // 2) * 2
        module.forward = lambda x, module=module, sides=sides: F.conv2d(
            F.pad(x, sides), module.weight, module.bias, module.stride, 0, module.dilation, module.groups
        )
    return net


@pytest.mark.parametrize("size", [64, (80, 96)])
def test_b4_is_padded_as_released_which_is_as_for_380_px(size):
    network = OneNIP("tf_efficientnet_b4", size=size)
    shapes = {key: tuple(value.shape) for key, value in network.encoder.net.state_dict().items()}
    network.encoder.net.load_state_dict(filled(shapes))
    plain = timm.create_model("tf_efficientnet_b4", features_only=True, out_indices=(0, 1, 2, 3)).eval()
    plain.load_state_dict(network.encoder.net.state_dict(), strict=False)  # but for the stages that we drop
    images = torch.rand(1, 3, *network.size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = network.encode(images)
        normalised = (images - network.encoder.mean) / network.encoder.std
        usual = plain(normalised)
        wanted = static_padding(plain, 380)(normalised)
    assert max(map(distance, found, wanted)) < 1e-5
    assert [distance(*levels) < 1e-4 for levels in zip(usual, wanted, strict=True)] == [True, True, False, False]


def distance(level, other):
    return float((level - other).abs().max() / other.abs().max())


@pytest.mark.parametrize(
    ("of", "into", "said"),
    [
        ({}, UNIAD, r"a published OneNIP; it goes into OneNIP\(prompt='dynamic', refiner=True, size=\[64, 64\]\)"),
        (UNIAD, {}, r"a published UniAD; it goes into OneNIP\(prompt='none', refiner=False, size"),
        ({}, {"prompt": "static"}, "a published OneNIP; .* and this one has prompt='static'"),
        ({}, {"refiner": False}, "a published OneNIP; .* and this one has .*refiner=False"),
        ({}, {"size": 96}, r"a published OneNIP; .*size=\[64, 64\]\), and this one has .*size=\[96, 96\]"),
        ({}, {"encoder": "test_resnet"}, "it learned on features of tf_efficientnet_b4, .* are of test_resnet"),
        ({}, {"decoder_layers": 2}, r"keys do not fit the published OneNIP: 18 missing \(reconstruction\."),
        ({}, {"encoder_layers": 2}, r"keys do not fit the published OneNIP: 12 missing \(reconstruction\."),
    ],
)
def test_a_file_of_another_kind_or_size_is_refused_in_one_line_that_says_what_it_is(of, into, said):
    with pytest.raises(BadRequest, match=f"x.pkl: {said}"):
        shapes_of(**into).load_published(file_of(shapes_of(**of)), "x.pkl")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (dict.fromkeys(published_shapes()), "it is a published MetaUAS"),
        ({"onenip": {}, "state_dict": {"network.reconstruction.x": 0}}, r"it begins with network\.reconstruction"),
        ({}, "it begins with nothing"),
    ],
    ids=["MetaUAS", "ours", "empty"],
)
def test_a_file_of_another_network_is_refused_in_one_line(content, said):
    with pytest.raises(BadRequest, match=f"x.pkl: no published OneNIP or UniAD; {said}"):
        shapes_of().load_published(content, "x.pkl")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop(NORM), r"the published OneNIP: 1 missing \(reconstruction\..*norm1\.bias\)"),
        (lambda s: s.update({"module.extra": torch.ones(1)}), r"the published OneNIP: 1 unexpected \(extra\)"),
        (lambda s: s.update({NORM: torch.ones(3)}), r"the published OneNIP: 1 of another shape \(reconstruction\."),
        (lambda s: s.update({NORM: "a text"}), r"the published OneNIP: 1 of another shape \(reconstruction\."),
        (lambda s: s.pop(BACKBONE), r"tf_efficientnet_b4: 1 missing \(backbone\._bn0\.bias\)"),
        (
            lambda s: s.update({"module.backbone._blocks.21.x": torch.ones(1)}),
            r"1 unexpected \(backbone\._blocks\.21\.x",
        ),
        (lambda s: s.pop("module.reconstruction.pos_embed.row_embed.weight"), "OneNIP without its position tables"),
    ],
)
def test_what_does_not_fit_in_a_published_file_is_named_as_the_file_names_it(change, said):
    content = file_of(shapes_of(), encoder=True)
    change(content["state_dict"])
    with pytest.raises(BadRequest, match=rf"x\.pkl: .*{said}"):
        shapes_of().load_published(content, "x.pkl")


def test_a_published_file_without_its_encoder_is_no_network(tmp_path):
    torch.save(file_of(OneNIP(**SMALL)), tmp_path / "x.pkl")
    with pytest.raises(BadRequest, match=r"a published OneNIP without its encoder, .*; wanted the whole file"):
        OneNIP.from_checkpoint(tmp_path / "x.pkl")


def test_content_of_any_kind_is_of_no_kind():
    for content in ({}, {"state_dict": 3}, {1: torch.ones(1)}, {"state_dict": {"encoder._x": torch.ones(1)}}):
        assert published_kind(content) is None


@pytest.fixture(scope="module")
def oracle(shared):
    folder = shared / "reference"
    spec = importlib.util.spec_from_file_location("onenip_weights", folder / "onenip_weights.py")
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    return Oracle(rule, np.load(folder / "onenip_parity_224.npz"), folder)


class Oracle:
    """What the authors' modules computed, and from what."""

    def __init__(self, rule, expected, folder):
        self.rule, self.expected, self.folder = rule, expected, folder
        self.state = cache(self.state)

    def state(self, names):
        state = self.rule.reference_state_dict(self.folder / names)
        return {key: torch.as_tensor(value) for key, value in state.items()}

    def network(self, names="onenip_state_dict.txt", **switches):
        network = OneNIP("tf_efficientnet_b4", **switches)
        network.load_published(self.state(names))
        return network.eval()

    def features(self, name):
        return [torch.from_numpy(level) for level in self.rule.reference_features(name)]

    def agrees(self, found, name, tolerance):
        assert np.abs(found.numpy() - self.expected[name]).max() < tolerance, name


def test_the_stand_in_has_the_names_and_shapes_of_the_published_ones(oracle):
    for names, switch, count in (("onenip_state_dict.txt", {}, 8_372_625), ("uniad_state_dict.txt", UNIAD, 7_717_392)):
        with torch.device("meta"):
            network = OneNIP(**switch)
        ours = {
            f"module.reconstruction.{key}": tuple(v.shape) for key, v in network.reconstruction.state_dict().items()
        }
        assert ours == oracle.rule.shapes(oracle.folder / names)
        assert sum(p.numel() for p in network.parameters() if p.requires_grad) == count


def test_it_finds_what_the_authors_network_finds(oracle):
    network = oracle.network()
    seen = {}
    transformer = network.reconstruction.transformer
    parts = {"encoder": transformer["encoder"].layers[-1], "decoder": transformer["decoder"]}
    parts |= {f"decoder_{i}": layer for i, layer in enumerate(transformer["decoder"].layers)}
    parts |= {"refiner_logit": network.reconstruction.seghead}
    for name, part in parts.items():
        part.register_forward_hook(lambda _part, _args, out, name=name: seen.update({name: out}))
    with torch.inference_mode():
        found = network.compare(oracle.features("prompt"), oracle.features("query"))
    for name in ("prompt", "query"):
        oracle.agrees(neck(oracle.features(name), (14, 14)), f"neck_{name}", 1e-4)
    for name in ("encoder", "decoder"):
        oracle.agrees(seen[name].transpose(0, 1), name, 1e-3)
    for i in range(4):
        for side, stream in zip(("prompt", "query"), seen[f"decoder_{i}"], strict=True):
            oracle.agrees(stream.transpose(0, 1)[::2, :, ::4], f"decoder_{i}_{side}", 1e-3)
    oracle.agrees(found.reconstruction, "reconstruction", 1e-3)
    oracle.agrees(found.error, "error_upsampled", 1e-3)
    oracle.agrees(seen["refiner_logit"], "refiner_logit", 1e-3)
    oracle.agrees(found.refined, "refiner", 1e-4)
    network.calibrate([found.error])
    scores = network.score_map(found)
    oracle.agrees(scores[:, 0], "score", 1e-3)
    oracle.agrees(network.image_scores(scores), "image_score", 1e-3)


def test_before_the_decoder_s_fix_it_found_what_the_paper_s_network_did(oracle):
    with torch.inference_mode():
        found = oracle.network(decoder="v1").compare(oracle.features("prompt"), oracle.features("query"))
    oracle.agrees(found.reconstruction[:, ::8, ::2, ::2], "v1_reconstruction", 1e-3)
    oracle.agrees(found.refined[:, :, ::4, ::4], "v1_refiner", 1e-4)


def test_without_a_prompt_it_is_uniad(oracle):
    with torch.inference_mode():
        found = oracle.network("uniad_state_dict.txt", **UNIAD).compare(None, oracle.features("query"))
    oracle.agrees(found.reconstruction[:, ::8], "uniad_reconstruction", 1e-3)
    assert found.refined is None


def losses(oracle, network, noise=None):
    mask = torch.from_numpy(oracle.rule.reference_masks())[2:]  # of the synthetic half
    return network.losses(*(oracle.features(name) for name in ("query", "synthetic", "prompt")), mask, noise)


def near(oracle, found, name):
    assert found.item() == pytest.approx(float(oracle.expected[name].mean()), rel=1e-4), name


def test_it_learns_as_the_authors_network_does(oracle):
    network = still(oracle.network()).train()
    lost = losses(oracle, network)
    lost.total.backward()
    near(oracle, lost.mse, "train_mse")
    near(oracle, lost.dice, "train_dice")
    near(oracle, lost.total, "train_loss")
    for number, block in enumerate((network.reconstruction.seghead.upconv1, network.reconstruction.seghead.upconv2), 1):
        oracle.agrees(block[1].running_mean, f"bn_mean_{number}", 1e-4)
        oracle.agrees(block[1].running_var, f"bn_var_{number}", 1e-4)
    learned = dict(network.named_parameters())
    names = [name.removeprefix("module.") for name in oracle.rule.shapes()]
    norms = [learned[name].grad.norm() for name in names if name in learned]
    np.testing.assert_allclose(norms, oracle.expected["grad_norms"], rtol=1e-4)
    learned = [parameter for parameter in learned.values() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4, weight_decay=1e-4)
    near(oracle, nn.utils.clip_grad_norm_(learned, 0.1), "grad_norm")
    optimizer.step()
    near(oracle, losses(oracle, network).total.detach(), "train_loss_next")


def test_its_features_are_jittered_as_the_authors_network_s_are(oracle):
    noise = torch.from_numpy(oracle.rule.reference_noise())  # (hw, 3 B, C), normal, synthetic, prompt
    noise = noise.view(14, 14, 3, 2, 272).permute(3, 2, 4, 0, 1)
    with torch.no_grad():
        lost = losses(oracle, still(oracle.network()).train(), noise)
    near(oracle, lost.mse, "jitter_mse")
    near(oracle, lost.total, "jitter_loss")
