"""Every source of passages; nothing here touches a model."""
