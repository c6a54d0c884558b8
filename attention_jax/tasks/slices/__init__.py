"""The slicings, a file each. A new one is a function here that returns a `Slicing`, and nothing else is edited:

    @slicings.register
    def length() -> Slicing:
        return Slicing(
            reads=("lengths",),
            count=lambda output, batch: octaves(output.shape[1]),
            of=lambda batch: octave(batch["lengths"], count=32),
            label=octave_label,
        )

Then `config.task.slices = ("length",)` has every run end with its score in each slice: in `metrics.jsonl`, in the
result, and in the report of a comparison with verdicts that count all slices.
"""
