"""The market: experts, their listings, versions and the road from trained to published."""
