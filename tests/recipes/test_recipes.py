"""Every recipe, on every kind of data it has a preset for: builds, trains, samples, resumes bit for bit."""

import ast
import copy
import dataclasses
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pushforward import recipes
from pushforward.core.engine import Engine
from pushforward.core.seeding import torch_seeded
from pushforward.data.arrays import ArrayData
from pushforward.data.catalogue import open_data
from pushforward.data.source import Data
from pushforward.data.spec import DataSpec
