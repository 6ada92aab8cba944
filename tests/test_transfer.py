"""A tower on data that it was not trained on: only what content says can be right there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gnnrec.cli import main
from gnnrec.datasets import Dataset, planted
from gnnrec.errors import UserError
from gnnrec.evaluation import evaluate_ranking
from gnnrec.graph import owners
from gnnrec.models import model_scorer
from gnnrec.pipeline import evaluate, train
from gnnrec.recipe import load_recipe
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run
from gnnrec.transfer import OWN, keep, measure_transfer, place_run
from tests.conftest import write_dataset
