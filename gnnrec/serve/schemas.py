"""What is asked and answered, as the OpenAPI document says it."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gnnrec.run_folder import LISTED
from gnnrec.serve.service import LONGEST

Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Length = Annotated[int, Field(ge=1, le=LISTED, description="length of the list", examples=[10])]
RERANK = "of a user or a history: let the language model reorder the list; needs a service started with --rerank"
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]


TITLE = "The Shawshank Redemption (1994)"
PLACE = {"rank": 1, "id": "318", "score": 1.5, "title": TITLE}
USER = {"id": "1", "interactions": 232}
HAD = {"id": "50", "title": "The Usual Suspects (1995)", "rating": 5.0}
CANDIDATE = PLACE | {"interactions": 317, "content": {"text": 0.31, "image": None}}
ITEM = {"id": "318", "title": TITLE, "fields": {"genres": "Crime|Drama"}, "media": ["image"], "interactions": 317}
REORDERED = PLACE | {"llm_score": 2.25, "base_rank": 3}
APPLIED = {"applied": True, "weight": 0.3, "reason": None}


def shown(*examples: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": list(examples)})


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Ask(Strict):
    """One of user, history, or content: text, and in a form the files image and audio."""

    user: Id | None = Field(None, examples=["1"])
    history: Annotated[list[Id], Field(min_length=1, max_length=LONGEST)] | None = Field(
        None, description="item ids, the oldest first, of anybody", examples=[["318", "50"]]
    )
    text: Text | None = Field(None, examples=["a heist in space"])
    k: Length = 10
    to_users: bool = Field(False, description="of content: whom to recommend such a new item to", examples=[False])
    rerank: bool = Field(False, description=RERANK, examples=[False])
    model_config = shown({"user": "1", "k": 5}, {"history": ["318", "50"]}, {"user": "1", "k": 5, "rerank": True})


def valid_ask(given: Mapping[str, str]) -> Ask | None:
    """An ask by fields as they stand in a query string; None where one of them is not what is allowed."""
    try:
        return Ask.model_validate(given)
    except ValidationError:
        return None


class AskForm(Ask):
    """The same as a form, with files."""

    image: Annotated[bytes, Field(json_schema_extra={"format": "binary"})] | None = None
    audio: Annotated[bytes, Field(json_schema_extra={"format": "binary"})] | None = None


class Interaction(Strict):
    user: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    item: Id
    rating: float | None = Field(None, allow_inf_nan=False, description="on the scale of the log, if it has one")
    timestamp: int | None = Field(None, ge=1, lt=4_102_444_800, description="unix seconds; now where left out")
    model_config = shown({"user": "1", "item": "318", "rating": 4.5})


class RunName(Strict):
    run: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(examples=["movies-2"])
    model_config = shown({"run": "movies-2"})


class Place(BaseModel):
    rank: int
    id: str
    score: float
    title: str | None
    model_config = shown(PLACE)


class Reordered(Place):
    """A place of a list that the language model was asked to reorder."""

    llm_score: float | None = Field(
        description="of the language model; null where it was not asked or had nothing to read"
    )
    base_rank: int = Field(description="its rank by the graph alone")
    model_config = shown(REORDERED)


class Rerank(BaseModel):
    applied: bool = Field(description="false: the list is the graph's own")
    weight: float | None = Field(description="of the language model beside the graph, as validation chose it")
    reason: str | None = Field(description="why it was not applied")
    model_config = shown(APPLIED)


class Lists(BaseModel):
    """`items` or, of content for users, `users`; the best first. What was asked for stands beside it."""

    run: str
    items: list[Reordered | Place] | None = None
    rerank: Rerank | None = Field(None, description="what became of `rerank`, where it was asked for")
    users: list[Place] | None = None
    user: str | None = None
    item: str | None = None
    history: list[str] | None = None
    model_config = shown(
        {"user": "1", "run": "movies", "items": [PLACE]},
        {"user": "1", "rerank": APPLIED, "run": "movies", "items": [REORDERED]},
        {"run": "movies", "users": [{"rank": 1, "id": "1", "score": 0.8, "title": None}]},
    )


class Item(BaseModel):
    id: str
    title: str | None
    fields: dict[str, str | None]
    media: list[str]
    interactions: int = Field(description="how often it was taken, as the run knows")
    model_config = shown(ITEM)


class Items(BaseModel):
    items: list[Item]
    model_config = shown({"items": [ITEM]})


class User(BaseModel):
    id: str
    interactions: int
    model_config = shown(USER)


class Users(BaseModel):
    users: list[User]
    model_config = shown({"users": [USER]})


class Had(BaseModel):
    id: str
    title: str | None
    rating: float | None = Field(description="where the log has ratings")
    model_config = shown(HAD)


class History(BaseModel):
    user: str
    run: str
    items: list[Had] = Field(description="the newest first; what came by /feedback is the newest")
    model_config = shown({"user": "1", "run": "movies", "items": [HAD]})


class Candidate(Place):
    interactions: int
    content: dict[str, float | None] = Field(description="modality -> cosine to what the user had; null without it")
    model_config = shown(CANDIDATE)


class Candidates(BaseModel):
    """What a list is made of, for who orders it in another way."""

    user: str
    run: str
    modalities: list[str]
    items: list[Candidate] = Field(description="the best first, by the run's own score")
    alike: list[list[int]] | None = Field(
        description="cosine in hundredths of each item's embedding to those of the items before it; null without any"
    )
    model_config = shown(
        {
            **{"user": "1", "run": "movies", "modalities": ["text", "image"]},
            **{"items": [CANDIDATE, CANDIDATE | {"rank": 2, "id": "50", "score": 1.4}], "alike": [[], [71]]},
        }
    )


class Map(BaseModel):
    run: str
    method: str = Field(description="pca, or tsne once that is done")
    settled: bool = Field(description="false while a better map is being made")
    ids: list[str]
    titles: list[str | None]
    kinds: list[str | None] = Field(description="such as the first genre")
    x: list[float] = Field(description="-1 to 1")
    y: list[float]
    model_config = shown(
        {
            **{"run": "movies", "method": "tsne", "settled": True, "ids": ["318", "50"], "titles": [TITLE, None]},
            **{"kinds": ["Crime", None], "x": [-0.32, 0.11], "y": [0.92, -0.5]},
        }
    )


class Training(BaseModel):
    run: str
    epochs: list[dict[str, float]]
    metrics: dict[str, float] = Field(description="of the finished run, on validation")
    model_config = shown(
        {
            "run": "movies",
            "epochs": [{"epoch": 1, "loss": 4.36, "ndcg@20": 0.31, "seconds": 2.5}],
            "metrics": {"recall@20": 0.35, "ndcg@20": 0.33},
        }
    )


class Explanation(BaseModel):
    user: str
    item: str
    title: str
    had: bool = Field(description="whether the user has had the item")
    score: float
    explanation: list[dict[str, Any]] = Field(description="sentences, and the pieces of evidence that each names")
    evidence: list[dict[str, Any]] = Field(description="the pieces, and how far the score falls without each")
    paths: list[dict[str, Any]] = Field(
        description="kinds of path to the item, and how far the score falls without each"
    )
    modalities: dict[str, dict[str, float]]
    run: str
    model_config = shown(
        {
            **{"user": "1", "item": "318", "title": TITLE, "had": False, "score": 2.18, "run": "movies"},
            "explanation": [{"text": "Because you had “Seven” (20 users had both).", "evidence": ["had:47"]}],
            "evidence": [
                {
                    **{"id": "had:47", "kind": "had", "drop": 0.32, "path": ["user", "item", "user", "item"]},
                    **{"title": "Seven", "rating": 5.0, "users_with_both": 20, "alike": {"text": 0.59}},
                },
                {"id": "text", "kind": "content", "drop": 0.02, "path": ["text", "item"]},
            ],
            "paths": [
                {"path": ["user", "item", "user", "item"], "drop": 1.41},
                {"path": ["user", "item", "text", "item"], "drop": 0.12},
            ],
            "modalities": {"text": {"drop_share": 1.0, "attention": 0.6}},
        }
    )


class State(BaseModel):
    status: str
    run: str | None = None
    users: int | None = None
    items: int | None = None
    compared: str | None = Field(None, description="the run beside it, of serve --compare")
    rerank: str | None = Field(
        None,
        description="of serve --rerank: preparing, while the weight is chosen; unanswered, where the model gave "
        "nothing to choose it by; ready; unusable, as the log says",
    )
    asks: list[str] | None = Field(
        None, description="what a query may be made of: text, image, audio; null while that is not known"
    )
    warm: bool | None = Field(None, description="whether histories and explanations are answered without a wait")
    model_config = shown(
        {"status": "ok"},
        {
            **{"status": "ok", "run": "movies", "users": 610, "items": 9724, "warm": True, "compared": None},
            **{"rerank": "ready", "asks": ["text", "image"]},
        },
    )


class PrivateParameters(BaseModel):
    run: str
    catalogue: str = Field(description="what /private/score wants to be told, so that no message is for another run")
    complete: bool = Field(description="false where the run adds to the inner products what is not scored here")
    items: int
    dimensions: int
    most_bytes: int = Field(description="of a message")
    encryption: dict[str, Any] = Field(description="scheme, sizes and security level; a client that has others stops")
    model_config = shown(
        {
            **{"run": "movies", "catalogue": "3584e400e1f94712", "complete": False, "items": 9724, "dimensions": 256},
            **{"most_bytes": 8_705_024, "encryption": {"scheme": "CKKS", "security_bits": 192}},
        }
    )


class PrivateItems(BaseModel):
    catalogue: str
    ids: list[str] = Field(description="in the order of the scores")
    titles: list[str | None]
    model_config = shown({"catalogue": "3584e400e1f94712", "ids": ["318", "50"], "titles": [TITLE, None]})


class Error(BaseModel):
    error: str = Field(examples=["no user with the id 'x'"])
    model_config = shown({"error": "no user with the id 'x'"})
