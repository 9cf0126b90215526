"""Every test runs on one thread: two threads on a shared core wait for each other, and bits must not depend on them."""

import torch

torch.set_num_threads(1)
