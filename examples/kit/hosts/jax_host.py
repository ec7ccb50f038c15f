"""JAX on the CPU: `jax.nn` and `jax.vjp`, in the format of the logits, under `jax.jit`.

Its documentation says nothing of the precision of log_softmax in 16 bits. Held to: sums in f32, one rounding to the
format. A transform is made in f32. Rows that are not scored are left out by indexing: there is no ignored target.
"""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

import kit


def array(x):
    """An array of numpy as one of JAX."""
    return jnp.asarray(x.view(ml_dtypes.bfloat16) if x.dtype == np.uint16 else x)


def transformed(x, transform):
    """y of x; what is masked stays so."""
    if transform.plain:
        return x
    y = x.astype(jnp.float32) * transform.scale
    if transform.softcap is not None:
        y = transform.softcap * jnp.tanh(y / transform.softcap)
        y = jnp.where(x == -jnp.inf, -jnp.inf, y)
    return y / transform.temperature


class Jax:
    """log_softmax, logsumexp, log_sigmoid, matmul."""

    name = f"jax {jax.__version__}"
    formats = ("f32", "bf16", "f16")
    unscored = "zero"
    offers = [
        "log_prob", "log_z", "argmax", "mean_logit", "logit_grads", "pair_loss", "head_log_prob", "head_log_z",
        "hidden_grads",
    ]  # fmt: skip

    def precision(self, form):
        """f32, and one rounding to the format."""
        return kit.single(form)

    def asked(self, case, logits, x):
        """log p, log Z and the gradient of Σ c log p by x, of scored rows, compiled."""
        rows, targets = np.flatnonzero(case.scored), case.targets[case.scored][:, None]
        c = case.coefficients[case.scored]

        def log_prob(x):
            y = transformed(logits(x[rows]), case.transform)
            return jnp.take_along_axis(jax.nn.log_softmax(y), targets, axis=1)[:, 0]

        @jax.jit
        def all_of(x):
            log_probs, pull = jax.vjp(log_prob, x)
            log_z = jax.nn.logsumexp(transformed(logits(x[rows]), case.transform), axis=-1)
            return log_probs.astype(x.dtype), log_z.astype(x.dtype), pull(c.astype(log_probs.dtype))[0]

        log_probs, log_z, grads = map(np.asarray, all_of(x))
        return {"log_probs": case.spread(log_probs), "log_z": case.spread(log_z)}, grads

    def rows(self, case):
        """Rows of logits."""
        x = array(case.logits)
        found, grads = self.asked(case, lambda x: x, x)

        @jax.jit
        def more(x):
            y = transformed(x, case.transform)
            return jnp.argmax(y, axis=-1), jnp.mean(y, axis=-1).astype(x.dtype)

        argmax, mean = map(np.asarray, more(x))
        return found | {"argmax": argmax, "mean_logit": case.spread(mean[case.scored]), "grads": grads}

    def pairs(self, case):
        """DPO by log_sigmoid, in f32; derivatives by `jax.grad`."""
        columns = jnp.asarray(case.columns, jnp.float32)
        beta, epsilon = case.beta, case.label_smoothing

        @jax.jit
        def losses(chosen, rejected):
            margin = beta * ((chosen - columns[2]) - (rejected - columns[3]))
            z = margin - columns[5]
            return columns[4] * (-jax.nn.log_sigmoid(z) * (1 - epsilon) - jax.nn.log_sigmoid(-z) * epsilon), margin

        grads = jax.grad(lambda *x: losses(*x)[0].sum(), argnums=(0, 1))(*columns[:2])
        loss, margin = losses(*columns[:2])
        return loss, beta * (columns[0] - columns[2]), beta * (columns[1] - columns[3]), margin, *grads

    def head(self, case):
        """A product of matrices, then as rows."""
        weight, bias = array(case.weight), None if case.bias is None else array(case.bias)

        def logits(hidden):
            x = hidden @ weight.T
            return x if bias is None else x + bias

        found, d_hidden = self.asked(case, logits, array(case.hidden))
        return found | {"d_hidden": d_hidden}


if __name__ == "__main__":
    kit.main(Jax)
