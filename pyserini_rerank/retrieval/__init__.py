"""Everything that touches Pyserini and Java; nothing here touches a model."""
