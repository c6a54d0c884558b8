"""The reports of studies: tables, charts, sentences, pages."""
