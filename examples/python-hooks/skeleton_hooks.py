"""A hooks file as acme2certifier knows it: it notes each call in $HOOKS_LOG."""

import json
import os


class Hooks:
    def __init__(self, logger):
        self.logger = logger

    def note(self, **values):
        self.logger.debug("Hooks.%s()", values["hook"])
        with open(os.environ["HOOKS_LOG"], "a") as log:
            log.write(json.dumps(values) + "\n")

    def pre_hook(self, certificate_name, order_name, csr):
        """run before obtaining any certificates"""
        self.note(hook="pre", certificate_name=certificate_name, order_name=order_name, csr=csr)

    def success_hook(self, certificate_name, order_name, csr, certificate, certificate_raw, poll_identifier):
        """run after each successful certificate enrollment/renewal"""
        self.note(hook="success", certificate_name=certificate_name, order_name=order_name, csr=csr,
                  certificate=certificate, certificate_raw=certificate_raw, poll_identifier=poll_identifier)

    def post_hook(self, certificate_name, order_name, csr, error):
        """run after *attempting* to obtain/renew certificates"""
        self.note(hook="post", certificate_name=certificate_name, order_name=order_name, csr=csr, error=error)
