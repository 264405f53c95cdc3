"""Everything that touches a model; nothing here touches Pyserini or Java."""
