Handler output (pre-perform):
-----BEGIN PRE-PERFORM-----
-----END PRE-PERFORM-----
Handler output (perform):
-----BEGIN PERFORM-----
DNS-01 BRISTOL3.TEST
-----END PERFORM-----
Handler output (perform):
-----BEGIN PERFORM-----
DNS-01 BS3.TEST
-----END PERFORM-----
Handler output (post-perform):
-----BEGIN POST-PERFORM-----
-----END POST-PERFORM-----
Handler output (pre-cleanup):
-----BEGIN PRE-CLEANUP-----
-----END PRE-CLEANUP-----
Handler output (cleanup):
-----BEGIN CLEANUP-----
DNS-01 BRISTOL3.TEST
-----END CLEANUP-----
Handler output (cleanup):
-----BEGIN CLEANUP-----
DNS-01 BS3.TEST
-----END CLEANUP-----
Handler output (post-cleanup):
-----BEGIN POST-CLEANUP-----
-----END POST-CLEANUP-----
Handler output (deploy_cert):
-----BEGIN DEPLOY_CERT-----
-----END DEPLOY_CERT-----
Handler output (deploy_cert):
-----BEGIN DEPLOY_CERT-----
-----END DEPLOY_CERT-----
