"""ironbind audits and hardens unified multi-modal encoders."""
