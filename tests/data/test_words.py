"""Words as tokens and back."""

from attention_jax.data.words import BEGIN, END, PADDING, Words

WORDS = Words(["walk  left", "jump"], owner="the training text")


def test_texts_come_back_up_to_blanks():
    assert WORDS.vocabulary == ["<padding>", "<begin>", "<end>", "jump", "left", "walk"]
    ids = WORDS.tokenize(["jump left ", "", "walk\tjump"])
    assert ids == [[3, 4], [], [5, 3]]
    assert list(map(WORDS.detokenize, ids)) == ["jump left", "", "walk jump"]


def test_what_comes_after_the_end_is_no_text():
    assert WORDS.detokenize([BEGIN, 5, PADDING, 3, END, 4, END]) == "walk jump"


def test_a_word_that_training_lacks_is_refused(refused):
    with refused("the training text has no word 'jmup'", "Did you mean 'jump'?"):
        WORDS.tokenize(["walk", "jmup"])
