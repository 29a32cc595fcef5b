"""One job: from a composed configuration to a published, failed or skipped run."""
