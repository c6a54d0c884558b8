"""Where a mechanism was published, as a citation and as an entry for a bibliography."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """Where a mechanism was published.

    Attributes:
      title: of the paper.
      equation: the equation or section that defines it.
      authors: "Surname, Given names and Surname, Given names", or the name of a group; "" where there is no paper.
      year: of the first version.
      venue: where it appeared, such as "ICML 2020"; None for a preprint.
      arxiv: the arXiv number, where there is one.
    """

    title: str
    equation: str
    authors: str = ""
    year: int | None = None
    venue: str | None = None
    arxiv: str | None = None

    def __str__(self) -> str:
        who = [f"{_cited(self.authors)} {self.year}"] if self.authors else []
        number = [f"arXiv {self.arxiv}"] if self.arxiv else []
        return ", ".join([*who, self.title, *number, self.equation])

    @property
    def bibtex(self) -> str:
        """An entry for a bibliography; "" where nobody has published it."""
        if not self.authors:
            return ""
        first, word = self.authors.partition(",")[0], self.title.split()[0]
        name = "".join(filter(str.isalnum, f"{first}{self.year}{word}".lower()))
        # A group's name stands in braces, or it would be taken for given names and a surname.
        authors = self.authors if "," in self.authors else f"{{{self.authors}}}"
        fields = {"title": f"{{{self.title}}}", "author": authors, "year": str(self.year)}
        if self.arxiv:
            fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"}
        fields["note"] = ", ".join(filter(None, (self.venue, self.equation)))
        lines = ",\n".join(f"  {field} = {{{value}}}" for field, value in fields.items())
        return f"@misc{{{name},\n{lines}\n}}"


def _cited(authors: str) -> str:
    surnames = [author.partition(",")[0] for author in authors.split(" and ")]
    if len(surnames) > 3:
        return f"{surnames[0]} et al."
    return " & ".join(filter(None, (", ".join(surnames[:-1]), surnames[-1])))
