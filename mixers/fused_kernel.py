"""The Triton kernel behind `fused.plane_transform`; imported where it runs, since a CPU needs no Triton."""

import triton
import triton.language as tl


@triton.jit
def kernel(
    x,
    left,
    right,
    out,
    groups,
    height,
    width,
    new_height,
    new_width,
    x_batch,
    x_group,
    x_input,
    x_row,
    out_batch,
    out_group,
    out_output,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    terms: tl.constexpr,
    block_h: tl.constexpr,
    block_w: tl.constexpr,
    block_h_out: tl.constexpr,
    block_w_out: tl.constexpr,
    exact: tl.constexpr,
    interpreted: tl.constexpr,
):
    """One program: `block_w_out` columns of the one or two results of one group of planes.

    Factors of products are of x's dtype, sums in float32, or float64 with `exact`. The interpreter multiplies by NumPy,
    which has no bfloat16: there the factors are widened after they have been rounded.
    """
    batch = tl.program_id(0).to(tl.int64) // groups
    group = tl.program_id(0).to(tl.int64) % groups
    h = tl.arange(0, block_h)[:, None]
    w = tl.arange(0, block_w)
    v = tl.arange(0, block_h_out)[:, None]
    u = tl.program_id(1) * block_w_out + tl.arange(0, block_w_out)[None, :]
    dtype = x.dtype.element_ty
    wide = tl.float64 if exact else tl.float32
    factor = wide if interpreted else dtype
    first = tl.zeros((block_h_out, block_w_out), dtype=wide)
    second = tl.zeros((block_h_out, block_w_out), dtype=wide)
    for i in tl.static_range(inputs):
        plane = x + batch * x_batch + group * x_group + i * x_input
        tile = tl.load(plane + h * x_row + w[None, :], mask=(h < height) & (w[None, :] < width), other=0.0).to(factor)
        for t in tl.static_range(terms):
            columns = tl.load(
                right + t * new_width * width + u * width + w[:, None],
                mask=(u < new_width) & (w[:, None] < width),
                other=0.0,
            ).to(factor)
            half = tl.dot(tile, columns, out_dtype=wide, input_precision="tf32x3").to(dtype).to(factor)
            rows = tl.arange(0, block_h)[None, :]
            inside = (v < new_height) & (rows < height)
            place = v * height + rows
            matrix = tl.load(left + (i * terms + t) * new_height * height + place, mask=inside, other=0.0).to(factor)
            first += tl.dot(matrix, half, out_dtype=wide, input_precision="tf32x3")
            if outputs == 2:
                other_matrix = tl.load(
                    left + ((inputs + i) * terms + t) * new_height * height + place, mask=inside, other=0.0
                ).to(factor)
                second += tl.dot(other_matrix, half, out_dtype=wide, input_precision="tf32x3")
    inside = (v < new_height) & (u < new_width)
    result = out + batch * out_batch + group * out_group + v * new_width + u
    tl.store(result, first.to(dtype), mask=inside)
    if outputs == 2:
        tl.store(result + out_output, second.to(dtype), mask=inside)
