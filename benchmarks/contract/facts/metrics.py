"""Every metric of a record, described once, as data: what it is, its unit and which way is better.

Tables take their columns from here, plots their axis labels, results/README.md its list.
"""

# ruff: noqa: E501  (one metric a line)

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number of a record."""

    label: str  # as an axis says it, unit included
    better: str | None  # "higher", "lower", or None where neither is
    text: str
    scale: float = 1.0  # shown = stored * scale
    digits: int = 3  # significant digits in tables for people


BASELINES = (
    ("chance", "chance", "Share that is right by chance: one over the number of classes."),
    ("majority", "majority class", "Share of test answers that are the most frequent class of the training split."),
    ("bag_of_tokens", "bag of tokens", "Share that a linear predictor gets right which sees how often each token occurs, not where; where tokens are classified, the token itself too."),
    ("bag_of_words", "bag of words", "Text: share that a linear model gets right which sees what words there are, and of a pair which it has in common."),
    ("frequencies", "token frequencies", "Masked text: share that is right by the most frequent token of the training part."),
    ("own_place", "own place alone", "Masked text: share that is right by token frequencies and what stands at the place itself, a tenth of which is left as it was: all that a net without mixing can reach."),
    ("position", "position alone", "Share that is right by the most frequent class at each place."),
    ("one_hop", "one step alone", "Two hops: share that is right by one step of recall, with a guess where two are asked for."),
    ("marker_distance", "marker distance alone", "Pathfinder: share that is right by how far the two discs are from each other."),
    ("root_operator", "root operator alone", "ListOps: share that is right by the most frequent answer for the first operator."),
    ("depth_1", "exact to depth 1", "ListOps: share that is right where operators deeper than the first are left out."),
    ("depth_2", "exact to depth 2", "ListOps: the same for operators deeper than the second level."),
    ("depth_3", "exact to depth 3", "ListOps: the same for operators deeper than the third level."),
)  # fmt: skip

UNITS = ("loss", "matthews", "f1", "spearman", "pearson")  # of baselines; of others it is percent right


def baseline_name(name: str) -> str:
    """The metric of a trivial predictor: "baseline_chance_percent", "baseline_majority_f1"."""
    return f"baseline_{name}" if name.endswith(tuple(f"_{unit}" for unit in UNITS)) else f"baseline_{name}_percent"


METRICS: dict[str, Metric] = {
    # accuracy
    "test_top1_percent": Metric("test top-1 accuracy (%)", "higher", "Share of test images whose most probable class is right, after the last epoch; the test split is read once."),
    "test_top5_percent": Metric("test top-5 accuracy (%)", "higher", "Share of test images whose class is among the five most probable."),
    "test_loss": Metric("test loss (nats)", "lower", "Mean cross-entropy on the test split, without label smoothing."),
    "val_top1_percent": Metric("held-out top-1 accuracy (%)", "higher", "The same on images held out from the training split, after the last epoch; every choice is made on these."),
    "train_loss": Metric("training loss (nats)", "lower", "Mean training loss of the last epoch, label smoothing and augmentation included."),
    "pretrain_train_loss": Metric("pre-training loss (nats)", "lower", "With PRETRAIN=own: mean cross-entropy of masked tokens in the last epoch of pre-training."),
    "pretrain_val_loss": Metric("held-out pre-training loss (nats)", "lower", "The same on masked tokens of held-out sequences, after that epoch."),
    "train_images_per_s": Metric("training images per second", "higher", "Images trained on per second of training, data handling included, validation and compilation left out. Whatever else ran on the machine slowed it; the latency sweep is the fair comparison."),
    "overhead_percent": Metric("share of a step outside the net (%)", "lower", "Share of training time that is neither forward, backward nor optimizer: order, augmentation, schedule, bookkeeping. CPU only."),
    "train_s": Metric("training time (s)", "lower", "Seconds of training, over all sittings of a resumed run; validation and test left out."),
    "compile_s": Metric("warm-up and capture (s)", "lower", "Seconds before the first training step counts: warm-up, the capture of the step as a CUDA graph and compilation, in this sitting. GPU only."),
    # of text
    "test_order_percent": Metric("order of two parts (%)", "higher", "Pre-training: share of test passages of which the net tells whether their two parts were exchanged (or belong together, with ORDER=random); half is chance."),
    "test_order_loss": Metric("loss of the order (nats)", "lower", "The mean cross-entropy of the same."),
    "test_matthews": Metric("Matthews correlation (x 100)", "higher", "Of the predicted with the true classes; 0 is chance (GLUE's metric of CoLA)."),
    "test_f1": Metric("F1 of class 1 (x 100)", "higher", "The harmonic mean of precision and recall (GLUE's metric of MRPC and QQP)."),
    "test_spearman": Metric("Spearman correlation (x 100)", "higher", "Of the ranks of predicted and true numbers (GLUE's metric of STS-B)."),
    "test_pearson": Metric("Pearson correlation (x 100)", "higher", "Of predicted and true numbers."),
    "test2_top1_percent": Metric("second test set, top-1 accuracy (%)", "higher", "The same on a second labelled set where a task has one and its file is there: SST-2's test set, MNLI's mismatched development set."),
    "baseline_own_place_loss": Metric("own place alone (nats)", None, "Masked text: cross-entropy of who sees what stands at the place itself and nothing beside."),
    "baseline_frequencies_loss": Metric("token frequencies (nats)", None, "Masked text: cross-entropy of the frequencies of the training part; a net above it has learned nothing of what stands beside."),
    **{
        f"baseline_{who}_{name}": Metric(f"{label} ({title} x 100)", None, f"The same metric of {text}.")
        for who, label, text in (("majority", "majority class", "the most frequent class"), ("bag_of_words", "bag of words", "a linear model on which words there are"))
        for name, title in (("matthews", "Matthews"), ("f1", "F1"), ("spearman", "Spearman"), ("pearson", "Pearson"))
    },
    # predictors that are no net, on the test split; of sequences and text
    **{f"baseline_{name}_percent": Metric(f"{label} (%)", None, text) for name, label, text in BASELINES},
    # cost
    "params": Metric("parameters", "lower", "Trained numbers in the whole net; a complex number counts as two."),
    "mixer_params": Metric("parameters of the mixers", "lower", "Trained numbers in all mixing layers."),
    "flops": Metric("forward FLOPs per image", "lower", "Real floating-point operations of the algorithm for one image, forward, whole net, in closed form: 2 per multiply-add, 2.5 n log2 n for the FFT of n real numbers. Norms, activations, biases and residual additions are not counted."),
    "mixer_flops": Metric("forward FLOPs of the mixers per image", "lower", "The part of `flops` that lies in the mixing layers."),
    "flops_executed": Metric("executed FLOPs per image", "lower", "Operations of the implementation that ran, for instance of a DFT done as matrix products."),
    "flops_counted": Metric("counted FLOPs per image", "lower", "The same as counted while the net runs, operator by operator; an independent check of `flops_executed`. A lower bound where `flops_unknown` names operators."),
    "forward_peak_bytes": Metric("peak memory, forward (MB)", "lower", "Most bytes of tensors alive at once in a forward pass without gradients, parameters and input included. On a GPU the allocator's peak; on a CPU the tensors that PyTorch's dispatcher sees, scratch space inside a library not included.", 1e-6),
    "train_peak_bytes": Metric("peak memory, training step (MB)", "lower", "The same for forward, backward and an AdamW step.", 1e-6),
    # latency
    "forward_ms": Metric("net, forward (ms per batch)", "lower", "Median over rounds of one forward pass of the whole net on one batch, without gradients."),
    "forward_backward_ms": Metric("net, forward + backward (ms per batch)", "lower", "Median over rounds of forward and backward of the whole net on one batch."),
    "images_per_s": Metric("throughput, forward (images/s)", "higher", "Images of the batch over `forward_ms`."),
    "train_step_images_per_s": Metric("throughput, forward + backward (images/s)", "higher", "Images of the batch over `forward_backward_ms`."),
    "mixer_forward_ms": Metric("mixer alone, forward (ms per batch)", "lower", "Median over rounds of one mixing layer alone on a tensor (batch, dim, rows, columns)."),
    "mixer_forward_backward_ms": Metric("mixer alone, forward + backward (ms per batch)", "lower", "The same with the gradients of input and parameters."),
    "copy_ms": Metric("copy of the mixer's input (ms)", "lower", "Median over rounds of copying the mixer's input tensor into another: the memory floor."),
    "copy_ratio": Metric("mixer forward over copy", "lower", "Geometric mean, over the rounds of a sitting and then over sittings, of `mixer_forward_ms` over `copy_ms` of the same round."),
    "mixer_bytes": Metric("bytes that the mixer must move (MB)", "lower", "Input, output and parameters of one mixing layer for the timed batch, once each, in the precision of the trial; 0 for a layer that returns its input. Fixed matrices and what an implementation moves besides are not counted.", 1e-6),
    "mixer_batch_flops": Metric("FLOPs of one mixing layer per batch", "lower", "Forward FLOPs of one mixing layer in closed form, times the images of the timed batch."),
    "matmul_flops_per_s": Metric("rate of a large matrix product (GFLOP/s)", "higher", "FLOP/s of one large square matrix product in the trial's precision, on a GPU with TF32 allowed, timed in every round beside the mixers; median over rounds.", 1e-9),
    "floor_ms": Metric("the mixer's floor, forward (ms per batch)", None, "Median over rounds of the longer of two times: `mixer_bytes` at the bandwidth of the same round's copy, and `mixer_batch_flops` at the rate of the same round's matrix product."),
    "floor_ratio": Metric("mixer forward over its floor", "lower", "Geometric mean, over the rounds of a sitting and then over sittings, of `mixer_forward_ms` over `floor_ms` of the same round."),
    "latency_batch_size": Metric("batch size", None, "Images in the timed batch."),
    "peak_memory_bytes": Metric("peak memory of the timed net, forward + backward (MB)", "lower", "Most bytes of tensors alive at once in forward and backward of the whole net on the timed batch; measured as `forward_peak_bytes` is.", 1e-6),
    "drift_ratio": Metric("drift", None, "The process's first measurement repeated at its end, over the first: how far the machine drifted meanwhile."),
    "graphs": Metric("graphs of the compiled net", "lower", "Graphs that torch.compile made of the net, the most of its two modes: 1 is the whole net, more means that it goes back to Python in between. A net that runs eagerly, or compiled in part, has no times but the status `error`. Of compiled trials."),
    # equal budgets
    "match_ratio": Metric("budget over target", None, "With MATCH=params or flops: what the solved width reached over what was asked for."),
}  # fmt: skip

# metrics that are words
WORDS: dict[str, str] = {
    "method": "Which implementation of the mixer ran: `dense`, `gemm`, `fft`, `fused`, `sdpa-` and the backend of attention, or `plain` where there is one only. In a net of several, all, with `+` between them.",
    "flops_unknown": "Operators that do work and that the counter of `flops_counted` knows nothing of, where there are any.",
    "clock": "How times were taken on a GPU, where launching is kept out of them: `graph`, calls back to back in one CUDA graph; `stream`, where something in the call cannot be captured, launched one by one back to back; both by the device's events. `wall`, where nothing can be captured: back to back by the wall's clock, the launching included.",
    "step": "How training steps ran: `graph`, captured as one CUDA graph; `compiled`, the same with the net compiled; or `eager`.",
}
