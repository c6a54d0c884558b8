r"""Parts of speech of UD English EWT by a BiLSTM over words and their characters.

Command: python launch.py train --config=experiments/ud_tagger.py --workdir=runs/ud_tagger
Needs: TFDS_DATA_DIR with universal_dependencies/en_ewt prepared (python launch.py prepare
universal_dependencies/en_ewt). From the CoNLL-U files of the treebank, the same sentences:
         ... --config=experiments/ud_tagger.py:files, with TEXTS_DATA_DIR=DIR, which has
         ud_english_ewt_r2.10/en_ewt-ud-{train,dev,test}.conllu.gz
With the layers of experiments/ud_bilm.py beside each word, frozen:
         ... --config=experiments/ud_tagger.py:bilm --config.init.source=runs/ud_bilm, not run whole yet
Seen: 94.2% of the test words right (bar: 93%), seed 0, in 3 minutes on one core of an AMD EPYC.
"""

from ml_collections import ConfigDict

from attention_jax.study.reproduction.declaration import Expected, Figure, Reproduction

_FILES = "ud_english_ewt_r2.10/en_ewt-ud-{}.conllu.gz"

RESULTS = (
    Reproduction(
        system="BiLSTM over words and characters, width 128",
        data="UD English EWT, parts of speech, test",
        core_minutes=5,
        metric="test_accuracy",
        expected=Expected(0.942, tolerance=0.005),
        bar=0.93,
        floor=Figure(0.8765, "the most frequent tag of each word"),
        published=Figure(0.95, "the lower end of what is published"),
    ),
)


def data(source: str) -> dict[str, object]:
    """Returns where the treebank is read from: "tfds" or "files"."""
    splits = {"train": "train", "validation": "dev", "test": "test"}
    if source == "files":
        return {split: _FILES.format(name) for split, name in splits.items()}
    return {**splits, "dataset": "universal_dependencies/en_ewt", "fields": {"words": "tokens", "tags": "upos"}}


def get_config(form: str = "tfds") -> ConfigDict:
    """Returns the tagger; what is evaluated is the average of the parameters.

    Args:
      form: tfds, files, or bilm: with a language model's layers, from the run that config.init.source names.
    """
    config = ConfigDict(
        {
            "data": {
                "name": "tagged_words",
                **data("files" if form == "files" else "tfds"),
                "context": 160,
                "characters": 20,
                "min_count": 2,
                "buckets": 6,
            },
            "task": {"name": "tagging"},
            "model": {
                "name": "tagger",
                "width": 100,
                "filters": 64,
                "encoder": {"cell": "lstm", "width": 128, "bidirectional": True},
                "dropout_rate": 0.4,
            },
            "optimizer": {
                "name": "adamw",
                "learning_rate": 2e-3,
                "schedule": {"name": "warmup_cosine", "warmup_steps": 200},
                "weight_decay": 0.01,
                "clip_norm": 5.0,
            },
            "ema_decay": 0.995,
            "batch_size": 32,
            "steps": 3000,
            "evaluation": {"every": 400, "batch_size": 128},
            "log": {"every": 100},
        }
    )
    if form == "bilm":
        config.model.bilm = {"num_layers": 2, "width": 128, "filters": 128}
        config.init = {
            "source": "runs/ud_bilm",
            "rename": (("output/.*", ""),),
            "skip": ("(words|encoder|mix|head).*",),
        }
        config.optimizer.freeze = ("bilm/.*",)
    return config
