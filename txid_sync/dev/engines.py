"""Search engines that can be run as throw-away servers: their versions, jars and Java.

An engine is named `<kind>-<version>`, for example `opensearch-3.8.0`.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from txid_sync.dev import maven
from txid_sync.dev.cache import cached
from txid_sync.dev.java import Jdk, find_jdk
from txid_sync.dev.processes import ServerError, finish

HERE = Path(__file__).parent
TITLES = {"elasticsearch": "Elasticsearch", "opensearch": "OpenSearch"}


@dataclass(frozen=True, slots=True)
class Engine:
    """One version of one engine: what it is made of, and how it is run.

    `log4j` is the version of log4j-core, which is ours to choose: that of the log4j-api that comes
    along.  `sources` is a folder beside this file: a pom.xml for the jars, and the node's Java.
    """

    kind: str
    version: str
    log4j: str
    least_java: int
    sources: str
    main_class: str

    @property
    def name(self) -> str:
        """Like opensearch-3.8.0."""
        return f"{self.kind}-{self.version}"

    @property
    def title(self) -> str:
        """Like OpenSearch 3.8.0."""
        return f"{TITLES[self.kind]} {self.version}"

    def java_options(self) -> list[str]:
        """System properties that the engine's own code reads."""
        prefix = "es" if self.kind == "elasticsearch" else self.kind
        return [
            "-Djna.nosys=true",
            "-Dlog4j2.disable.jmx=true",
            f"-D{prefix}.set.netty.runtime.available.processors=false",
        ]


def _elasticsearch(version: str, log4j: str, least_java: int) -> Engine:
    node = "org.elasticsearch.node.EsMain"
    return Engine("elasticsearch", version, log4j, least_java, "es", node)


def _opensearch(version: str, log4j: str, least_java: int) -> Engine:
    return Engine("opensearch", version, log4j, least_java, "os", "org.opensearch.node.OsMain")


_ALL = (
    _elasticsearch("8.19.20", "2.26.1", 17),
    _elasticsearch("9.5.3", "2.26.1", 21),
    _opensearch("2.19.1", "2.21.0", 17),
    _opensearch("3.8.0", "2.25.4", 21),
)
ENGINES: Mapping[str, Engine] = {engine.name: engine for engine in _ALL}


def find_engine(name: str) -> Engine:
    """The engine of that name, of which the version may be cut short (elasticsearch-8)."""
    found = [e for e in _ALL if e.name == name or e.name.startswith(f"{name}.")]
    if len(found) != 1:
        raise ServerError(f"{name} is not on the list of engines", f"one of {', '.join(ENGINES)}")
    return found[0]


def left_out() -> Mapping[str, str]:
    """The engines that cannot run on this machine, with the reason, by name."""
    found = {}
    for engine in _ALL:
        try:
            find_jdk(engine.least_java)
        except ServerError as error:
            found[engine.name] = str(error)
    return found


def class_path(engine: Engine, jdk: Jdk) -> list[Path]:
    """The compiled node and the jars, from the cache; compiled anew per JDK."""
    sources = HERE / engine.sources

    def build(folder: Path) -> None:
        properties = [f"engine.version={engine.version}", f"log4j.version={engine.log4j}"]
        (folder / "lib").mkdir()
        maven.copy_dependencies(sources / "pom.xml", folder / "lib", properties)
        compile_node(jdk, sources, folder)
        pack(folder / "out", folder / "node.jar")

    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(sources.iterdir())))
    ready = cached(f"{engine.name}-jars-jdk{jdk.major}-{digest.hexdigest()[:8]}", build)
    return [ready / "node.jar", *sorted((ready / "lib").iterdir())]


def compile_node(jdk: Jdk, sources: Path, folder: Path) -> None:
    """Compile the Java sources against lib into out."""
    files = [str(file) for file in sorted(sources.glob("*.java"))]
    target = ["-cp", f"{folder / 'lib'}/*", "-d", str(folder / "out")]
    finish([jdk.javac, *target, *files], f"the node in {sources.name} does not compile")


def pack(classes: Path, jar: Path) -> None:
    """Move a folder of classes into a jar; Java archives loaded classes of jars only."""
    with zipfile.ZipFile(jar, "w") as packed:
        for file in sorted(classes.rglob("*.class")):
            packed.write(file, file.relative_to(classes))
    shutil.rmtree(classes)
