"""Everything that touches Pyserini's searchers and Java; nothing here touches a model."""
