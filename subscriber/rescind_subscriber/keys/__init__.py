"""Issuers' keys over HTTPS: fetched beside the calls, kept on disk, handed to guards by a swap."""
