"""numpy in f64: the correct control of the kit's hosts."""

import numpy as np

import kit


class Numpy:
    """Every output by its formula, in f64, and rounded once where the format of the cases asks for it."""

    name = f"numpy {np.__version__} in f64"
    formats = ("f32", "bf16", "f16")
    unscored = "zero"
    offers = [
        "log_prob", "log_z", "entropy", "argmax", "mean_logit", "log_sum_sq_probs", "logit_grads", "pair_loss",
        "head_log_prob", "head_log_z", "hidden_grads",
    ]  # fmt: skip

    def precision(self, _):
        """f64 throughout."""
        return {"arithmetic": "f64", "output": "f64"}

    def softmax(self, x, case):
        """y, log Z, log p and p of the rows of x."""
        transform = case.transform
        y = x * transform.scale
        if transform.softcap is not None:
            y = np.where(x == -np.inf, x, transform.softcap * np.tanh(y / transform.softcap))
        y = y / transform.temperature
        top = y.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(y - top).sum(axis=1, keepdims=True))
        log_p = (y - top) - log_sum
        return y, (top + log_sum)[:, 0], log_p, np.exp(log_p)

    def slope(self, x, transform):
        """dy/dx"""
        slope = np.full_like(x, transform.scale / transform.temperature)
        if transform.softcap is not None:
            slope /= np.cosh(x * transform.scale / transform.softcap) ** 2
        return slope

    def d_logits(self, x, p, case):
        """c · (onehot − p) · dy/dx of scored rows."""
        at = np.arange(len(x)), case.targets[case.scored]
        d = -p
        d[at] += 1
        # 1 − p of a confident token is the sum of the others.
        others = p.copy()
        others[at] = 0
        d[at] = others.sum(axis=1) + np.where(np.isfinite(p[at]), 0, np.nan)
        return np.where(x == -np.inf, p, case.coefficients[case.scored, None] * d * self.slope(x, case.transform))

    def rows(self, case):
        """All figures of scored rows; zeros are the gradients of others."""
        x = kit.widened(case.logits[case.scored])
        with np.errstate(all="ignore"):
            y, log_z, log_p, p = self.softmax(x, case)
            d = np.zeros(case.logits.shape)
            d[case.scored] = self.d_logits(x, p, case)
            found = {
                "log_probs": log_p[np.arange(len(x)), case.targets[case.scored]],
                "log_z": log_z,
                "entropy": -np.where(p > 0, p * log_p, np.where(np.isnan(p), np.nan, 0)).sum(axis=1),
                "argmax": np.argmax(y, axis=1).astype(np.float64),
                "mean_logit": y.mean(axis=1),
                "log_sum_sq_probs": np.log((p * p).sum(axis=1)),
            }
        found = {key: case.spread(values) for key, values in found.items()}
        found["argmax"] = np.nan_to_num(found["argmax"])
        return found | {"grads": kit.rounded(d, case.format)}

    def pairs(self, case):
        """w · (softplus(−z) + ε z), with z = β[(πc − rc) − (πr − rr)] − offset."""
        chosen, rejected, ref_chosen, ref_rejected, weight, offset = case.columns
        beta, epsilon = case.beta, case.label_smoothing
        margin = beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
        z = margin - offset
        tail = np.exp(-np.abs(z))
        softplus = np.maximum(-z, 0) + np.log1p(tail)
        sigmoid = np.where(z > 0, tail, 1) / (1 + tail)
        d = weight * beta * (epsilon - sigmoid)
        loss = weight * (softplus + epsilon * z)
        return loss, beta * (chosen - ref_chosen), beta * (rejected - ref_rejected), margin, d, -d

    def head(self, case):
        """Logits by a product, then as rows."""
        weight, hidden = kit.widened(case.weight), kit.widened(case.hidden[case.scored])
        # A product for each row: those of matrices add in another order for other numbers of rows.
        x = np.stack([weight @ row for row in hidden])
        if case.bias is not None:
            x = x + kit.widened(case.bias)
        with np.errstate(all="ignore"):
            _, log_z, log_p, p = self.softmax(x, case)
            d_hidden = np.zeros(case.hidden.shape)
            d_hidden[case.scored] = np.stack([row @ weight for row in self.d_logits(x, p, case)])
        log_probs = log_p[np.arange(len(x)), case.targets[case.scored]]
        return {"log_probs": case.spread(log_probs), "log_z": case.spread(log_z), "d_hidden": d_hidden}


if __name__ == "__main__":
    kit.main(Numpy)
