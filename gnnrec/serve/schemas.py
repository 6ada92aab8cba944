"""What is asked and answered, as the OpenAPI document says it."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gnnrec.run_folder import LISTED
from gnnrec.serve.service import LONGEST

Id = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Length = Annotated[int, Field(ge=1, le=LISTED, description="length of the list")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]


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
    to_users: bool = Field(False, description="of content: whom to recommend such a new item to")


class AskForm(Ask):
    """The same as a form, with files."""

    image: Annotated[bytes, Field(json_schema_extra={"format": "binary"})] | None = None
    audio: Annotated[bytes, Field(json_schema_extra={"format": "binary"})] | None = None


class Interaction(Strict):
    user: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    item: Id
    rating: float | None = Field(None, allow_inf_nan=False, description="on the scale of the log")
    timestamp: int | None = Field(None, ge=1, lt=4_102_444_800, description="unix seconds; now where left out")
    model_config = ConfigDict(json_schema_extra={"examples": [{"user": "1", "item": "318", "rating": 4.5}]})


class RunName(Strict):
    run: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(examples=["movies-2"])


class Place(BaseModel):
    rank: int
    id: str
    score: float
    title: str | None


class Lists(BaseModel):
    """`items` or, of content for users, `users`; the best first. What was asked for stands beside it."""

    run: str
    items: list[Place] | None = None
    users: list[Place] | None = None
    user: str | None = None
    item: str | None = None
    history: list[str] | None = None
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user": "1", "run": "movies", "items": [{"rank": 1, "id": "318", "score": 1.5, "title": "…"}]}
            ]
        }
    )


class Item(BaseModel):
    id: str
    title: str | None
    fields: dict[str, str | None]
    media: list[str]
    interactions: int = Field(description="how often it was taken, as the run knows")


class Items(BaseModel):
    items: list[Item]


class User(BaseModel):
    id: str
    interactions: int


class Users(BaseModel):
    users: list[User]


class Had(BaseModel):
    id: str
    title: str | None
    rating: float | None = Field(description="where the log has ratings")


class History(BaseModel):
    user: str
    run: str
    items: list[Had] = Field(description="the newest first; what came by /feedback is the newest")


class Candidate(Place):
    interactions: int
    content: dict[str, float | None] = Field(description="modality -> cosine to what the user had; null without it")


class Candidates(BaseModel):
    """What a list is made of, for who orders it in another way."""

    user: str
    run: str
    modalities: list[str]
    items: list[Candidate] = Field(description="the best first, by the run's own score")
    alike: list[list[int]] | None = Field(
        description="cosine in hundredths of each item's embedding to those of the items before it; null without any"
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


class Training(BaseModel):
    run: str
    epochs: list[dict[str, float]]
    metrics: dict[str, float] = Field(description="of the finished run, on validation")


class Explanation(BaseModel):
    user: str
    item: str
    title: str
    score: float
    explanation: list[dict[str, Any]] = Field(description="sentences, and the pieces of evidence that each names")
    evidence: list[dict[str, Any]] = Field(description="the pieces, and how far the score falls without each")
    modalities: dict[str, dict[str, float]]
    run: str


class State(BaseModel):
    status: str
    run: str | None = None
    users: int | None = None
    items: int | None = None
    compared: str | None = Field(None, description="the run beside it, of serve --compare")
    warm: bool | None = Field(None, description="whether histories and explanations are answered without a wait")


class PrivateParameters(BaseModel):
    run: str
    catalogue: str = Field(description="what /private/score wants to be told, so that no message is for another run")
    complete: bool = Field(description="false where the run adds to the inner products what is not scored here")
    items: int
    dimensions: int
    most_bytes: int = Field(description="of a message")
    encryption: dict[str, Any] = Field(description="scheme, sizes and security level; a client that has others stops")


class PrivateItems(BaseModel):
    catalogue: str
    ids: list[str] = Field(description="in the order of the scores")
    titles: list[str | None]


class Error(BaseModel):
    error: str = Field(examples=["no user with the id 'x'"])
