"""The Triton kernel behind `fused.plane_transform`; imported where it runs, since a CPU needs no Triton."""

import triton
import triton.language as tl


@triton.jit
def kernel(
    x,
    left,
    right,
    out,
    planes,
    groups,
    height,
    width,
    new_height,
    new_width,
    x_batch,
    x_group,
    x_input,
    x_row,
    left_output,
    left_input,
    left_term,
    left_row,
    left_column,
    right_term,
    right_row,
    right_column,
    out_batch,
    out_group,
    out_output,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    terms: tl.constexpr,
    together: tl.constexpr,
    chunks: tl.constexpr,
    block_h: tl.constexpr,
    block_w: tl.constexpr,
    block_h_out: tl.constexpr,
    block_w_out: tl.constexpr,
    exact: tl.constexpr,
    interpreted: tl.constexpr,
):
    """One program: `block_w_out` columns of the one or two results of `together` groups of planes.

    The planes of a group are read `block_h` rows at a time, those of several groups one below the other for the first
    product and side by side for the second. Factors of products are of x's dtype, sums in float32, or float64 with
    `exact`. The interpreter multiplies by NumPy, which has no bfloat16: there the factors are widened after they have
    been rounded.
    """
    parts = tl.cdiv(new_width, block_w_out)
    start = tl.program_id(0) // parts * together
    first_column = tl.program_id(0) % parts * block_w_out
    dtype = x.dtype.element_ty
    wide = tl.float64 if exact else tl.float32
    factor = wide if interpreted else dtype

    # of the results, side by side
    v = tl.arange(0, block_h_out)[:, None]
    beside = tl.arange(0, together * block_w_out)[None, :]
    first = tl.zeros((block_h_out, together * block_w_out), dtype=wide)
    second = tl.zeros((block_h_out, together * block_w_out), dtype=wide)
    # of the planes, one below the other
    below = tl.arange(0, together * block_h)[:, None]
    plane = start + below // block_h
    rows = x + (plane // groups).to(tl.int64) * x_batch + (plane % groups).to(tl.int64) * x_group
    w = tl.arange(0, block_w)
    u = first_column + tl.arange(0, block_w_out)[None, :]
    for t in tl.static_range(terms):
        columns = right + t * right_term + u * right_row + w[:, None] * right_column
        columns = tl.load(columns, mask=(w[:, None] < width) & (u < new_width), other=0.0).to(factor)
        for step in range(inputs * chunks):
            i, chunk = step // chunks, step % chunks
            h = chunk * block_h + below % block_h
            in_plane = (plane < planes) & (h < height) & (w[None, :] < width)
            tile = tl.load(rows + i * x_input + h * x_row + w[None, :], mask=in_plane, other=0.0).to(factor)
            half = tl.dot(tile, columns, out_dtype=wide, input_precision="tf32x3").to(dtype).to(factor)
            if together > 1:
                half = half.reshape(together, block_h, block_w_out).permute(1, 0, 2)
                half = half.reshape(block_h, together * block_w_out)
            k = chunk * block_h + tl.arange(0, block_h)[None, :]
            in_left = (v < new_height) & (k < height)
            matrix = left + i * left_input + t * left_term + v * left_row + k * left_column
            own = tl.load(matrix, mask=in_left, other=0.0).to(factor)
            first += tl.dot(own, half, out_dtype=wide, input_precision="tf32x3")
            if outputs == 2:
                own = tl.load(matrix + left_output, mask=in_left, other=0.0).to(factor)
                second += tl.dot(own, half, out_dtype=wide, input_precision="tf32x3")

    plane = start + beside // block_w_out
    u = first_column + beside % block_w_out
    result = out + (plane // groups).to(tl.int64) * out_batch + (plane % groups).to(tl.int64) * out_group
    result += v * new_width + u
    inside = (plane < planes) & (v < new_height) & (u < new_width)
    tl.store(result, first.to(dtype), mask=inside)
    if outputs == 2:
        tl.store(result + out_output, second.to(dtype), mask=inside)
