"""All sources of passages; nothing here touches a model."""
