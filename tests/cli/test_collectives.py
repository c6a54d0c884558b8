"""What is read from the text of a compiled program."""

import pytest

from attention_jax.cli.collectives import Collective, collectives

PROGRAM = """\
HloModule jit_train_step, is_scheduled=true, entry_computation_layout={(f32[8,4]{1,0})->(f32[8,4]{1,0})}

%body (arg: (s32[], f32[2,4])) -> (s32[], f32[2,4]) {
  %permuted = bf16[2,3]{1,0} collective-permute(%part), channel_id=4, source_target_pairs={{0,1},{1,0}}
}

ENTRY %main {
  %all-reduce = f32[] all-reduce(%loss), channel_id=1, replica_groups={{0,1}}, to_apply=%add
  %all-reduce.7 = (f32[4,8]{1,0}, bf16[3]{0}, /*index=2*/pred[5]{0}) all-reduce(%a, %b, %c), channel_id=2
  %sum = f32[] add(%all-reduce, f32[] %all-reduce.2), metadata={op_name="jit(train_step)/all-gather"}
  %gathered = f32[8,4]{1,0:T(8,128)} all-gather(%sum), channel_id=3, dimensions={0}, use_global_device_ids=true
  ROOT all-to-all.1 = (s4[6]{0}, f8e4m3fn[2]{0}, c64[2]{0}) all-to-all(x, y, z), channel_id=5
  %scattered = f32[2,4]{1,0} reduce-scatter(%gathered), channel_id=6, dimensions={0}, to_apply=%add
}
"""
STARTED = """\
  %s1 = (f32[4]{0}, u8[2,3]{1,0}) all-reduce-start(%a, %b), channel_id=1
  %d1 = (f32[4]{0}, u8[2,3]{1,0}) all-reduce-done(%s1)
  %s2 = (f32[2,4]{1,0}, f32[8,4]{1,0}) all-gather-start(%c), channel_id=2
  %d2 = f32[8,4]{1,0} all-gather-done(%s2)
  %s3 = ((f32[2,3]{1,0}, s32[1]{0}), (f32[8,3]{1,0}, s32[4]{0})) all-gather-start(%c, %d), channel_id=3
  %s4 = (bf16[5]{0}, bf16[5]{0}, u32[], u32[]) collective-permute-start(%e), channel_id=4
  %s5 = ((f32[16]{0}), f32[2]{0}) reduce-scatter-start(%f), channel_id=5
"""


def test_each_collective_is_found_with_what_it_gives_a_device():
    assert collectives(PROGRAM) == [
        Collective("collective-permute", (("bf16", (2, 3)),)),
        Collective("all-reduce", (("f32", ()),)),
        Collective("all-reduce", (("f32", (4, 8)), ("bf16", (3,)), ("pred", (5,)))),
        Collective("all-gather", (("f32", (8, 4)),)),
        Collective("all-to-all", (("s4", (6,)), ("f8e4m3fn", (2,)), ("c64", (2,)))),
        Collective("reduce-scatter", (("f32", (2, 4)),)),
    ]


def test_of_an_operation_that_is_started_the_results_alone_count_and_its_end_does_not():
    assert collectives(STARTED) == [
        Collective("all-reduce", (("f32", (4,)), ("u8", (2, 3)))),
        Collective("all-gather", (("f32", (8, 4)),)),
        Collective("all-gather", (("f32", (8, 3)), ("s32", (4,)))),
        Collective("collective-permute", (("bf16", (5,)),)),
        Collective("reduce-scatter", (("f32", (2,)),)),
    ]


@pytest.mark.parametrize(
    ("dtype", "num_bytes"), [("f32", 24), ("bf16", 12), ("pred", 6), ("s8", 6), ("f8e5m2", 6), ("f64", 48), ("c64", 48)]
)
def test_bytes_are_of_the_dtype(dtype, num_bytes):
    assert Collective("all-gather", ((dtype, (2, 3)),)).num_bytes == num_bytes


def test_bytes_are_of_all_arrays_and_a_scalar_is_one_element():
    assert Collective("all-reduce", (("f32", ()), ("bf16", (4, 8)))).num_bytes == 68
    assert collectives("%x = f32[2] add(%a, %b)") == []
