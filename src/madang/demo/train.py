#!/usr/bin/env python3
"""Train a classifier of handwritten digits, step by step, and report how well it does.

The data are the 1,797 images of 8 × 8 pixels that ship inside scikit-learn (UCI, "Optical recognition of handwritten
digits"). It needs one processor core, no GPU and no network, and gives the same figures every time. Where PyTorch finds
a GPU, the same steps run there.

    train.py [--rounds 30] [--seed 7]
"""

import argparse
import itertools
import json
import os
import pickle
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def say(text):
    print(text, flush=True)  # noqa: T201


def main():
    parser = argparse.ArgumentParser(description="Train a classifier of handwritten digits.")
    parser.add_argument("--rounds", type=int, default=30, help="passes over the data")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    began = time.monotonic()

    say("loading scikit-learn and its digits …")
    import numpy
    import sklearn
    from sklearn.datasets import load_digits
    from sklearn.metrics import confusion_matrix
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    images, digits = load_digits(return_X_y=True)
    images = images / 16.0
    learn_x, rest_x, learn_y, rest_y = train_test_split(
        images, digits, test_size=0.3, random_state=asked.seed, stratify=digits
    )
    say(f"{len(learn_y)} images to learn from, {len(rest_y)} kept back, scikit-learn {sklearn.__version__}")

    # Shifted by a pixel to each side, every image is seen five times: the classifier learns shapes, not places.
    def shifted(rows, down, right):
        squares = numpy.roll(rows.reshape(-1, 8, 8), (down, right), axis=(1, 2))
        return squares.reshape(len(rows), -1)

    moves = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
    many_x = numpy.vstack([shifted(learn_x, *move) for move in moves])
    many_y = numpy.tile(learn_y, len(moves))

    model = OnGpu(asked.seed) if has_gpu() else None
    if model is None:
        model = MLPClassifier(hidden_layer_sizes=(256, 128), alpha=1e-4, random_state=asked.seed)
    order = numpy.random.default_rng(asked.seed)
    history = []
    for number in range(1, asked.rounds + 1):
        step = time.monotonic()
        turn = order.permutation(len(many_y))
        for part in numpy.array_split(turn, 32):
            model.partial_fit(many_x[part], many_y[part], classes=range(10))
        accuracy = float((model.predict(rest_x) == rest_y).mean())
        history.append({"round": number, "loss": round(float(model.loss_), 5), "accuracy": round(accuracy, 5)})
        say(
            f"round {number:3d}/{asked.rounds}  loss {model.loss_:.4f}  accuracy {accuracy:.4f}"
            f"  ({time.monotonic() - step:.2f} s)"
        )

    found = model.predict(rest_x)
    accuracy = float((found == rest_y).mean())
    where = getattr(model, "device", "processor")
    with open("model.pkl", "wb") as binary:
        pickle.dump(getattr(model, "weights", model), binary)
    metrics = {
        "accuracy": round(accuracy, 5),
        "images_learned": len(learn_y),
        "images_tested": len(rest_y),
        "rounds": asked.rounds,
        "seed": asked.seed,
        "seconds": round(time.monotonic() - began, 2),
        "device": where,
        "scikit_learn": sklearn.__version__,
        "history": history,
    }
    with open("metrics.json", "w") as file:
        json.dump(metrics, file, indent=2)
    with open("report.md", "w") as file:
        file.write(report(metrics, confusion_matrix(rest_y, found)))
    say(f"wrote model.pkl, metrics.json, report.md after {metrics['seconds']} s on {where}")
    say(f"accuracy {accuracy:.4f}")
    return 0 if accuracy > 0.9 else 1


def has_gpu():
    if not os.environ.get("CUDA_VISIBLE_DEVICES"):  # a job without GPUs needn't wait for PyTorch
        return False
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


class OnGpu:
    """The same network as the processor's, with the two methods that are used of it."""

    def __init__(self, seed):
        import torch

        torch.manual_seed(seed)
        self.torch, self.device = torch, torch.cuda.get_device_name(0)
        sizes = (64, 256, 128, 10)
        layers = []
        for into, out in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(into, out), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1]).cuda()
        self.steps = torch.optim.AdamW(self.net.parameters(), lr=1e-3, weight_decay=1e-4)
        self.loss_ = 0.0

    def tensor(self, rows, kind):
        return self.torch.as_tensor(rows, dtype=kind, device="cuda")

    def partial_fit(self, rows, digits, classes):
        torch = self.torch
        self.steps.zero_grad()
        guess = self.net(self.tensor(rows, torch.float32))
        loss = torch.nn.functional.cross_entropy(guess, self.tensor(digits, torch.int64))
        loss.backward()
        self.steps.step()
        self.loss_ = float(loss)

    def predict(self, rows):
        with self.torch.no_grad():
            return self.net(self.tensor(rows, self.torch.float32)).argmax(1).cpu().numpy()

    @property
    def weights(self):
        return {name: value.cpu().numpy() for name, value in self.net.state_dict().items()}


def report(metrics, confusion):
    lines = ["# Handwritten digits", ""]
    lines.append(
        f"{metrics['accuracy']:.1%} of {metrics['images_tested']} images that it had never seen were read rightly."
    )
    lines += ["", "| written \\ read | " + " | ".join(str(n) for n in range(10)) + " |", "|---" * 11 + "|"]
    for digit, row in enumerate(confusion):
        lines.append(f"| **{digit}** | " + " | ".join(str(count) for count in row) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
