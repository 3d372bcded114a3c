"""A bundle client of its own, written from OPA's documentation of bundles; nothing of ours in it.

It asks as OPA asks, takes archives apart by `tarfile`, checks the signature and every file's hash,
the manifest's roots, applies deltas to a store, and refuses what OPA refuses.
"""

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any
from urllib.parse import unquote

import httpx2
import jwt

LONG_POLL = "application/vnd.openpolicyagent.bundles"


class OpaRefused(Exception):
    """What an OPA would report in its status, keeping what it has."""


class OpaClient:
    """One OPA's bundle plugin; `data` and `modules` are what its policies would see."""

    def __init__(
        self,
        http: httpx2.AsyncClient,
        path: str,
        *,
        keys: dict[str, tuple[str, str]] | None = None,
        scope: str = "",
        wait_s: int | None = None,
        persist: bool = False,
    ) -> None:
        self.data: dict[str, Any] = {}
        self.modules: dict[str, str] = {}
        self.manifest: dict[str, Any] = {}
        self.etag = ""
        self.kinds: list[str] = []
        """What each download was: "snapshot", "delta" or "304"."""
        self._http, self._path = http, path
        self._keys, self._scope, self._persist = keys or {}, scope, persist
        self._wait_s, self._long = wait_s, wait_s is not None

    async def poll(self) -> None:
        """Ask once and activate what comes; an error forgets the revision, as OPA does."""
        try:
            await self._poll()
        except Exception:
            self.etag = ""
            raise

    async def _poll(self) -> None:
        prefer = "modes=snapshot,delta"
        if self._long:
            prefer += f";wait={self._wait_s}"
        headers = {"If-None-Match": self.etag, "Prefer": prefer}
        timeout = httpx2.Timeout(30.0)
        answer = await self._http.get(self._path, headers=headers, timeout=timeout)
        if answer.status_code == 304:
            self.etag = answer.headers.get("ETag") or self.etag
            self.kinds.append("304")
            return
        if answer.status_code != 200:
            raise OpaRefused(f"server replied with {answer.status_code}")
        self._activate(answer.content)
        self.etag = answer.headers.get("ETag", "")
        self._long = self._wait_s is not None and answer.headers["Content-Type"] == LONG_POLL

    def _activate(self, raw: bytes) -> None:
        files = untar(raw)
        manifest = json.loads(files.get(".manifest", b"{}"))
        roots = [root.strip("/") for root in manifest.get("roots", [""])]
        if "patch.json" in files:
            self._patch(files, roots)
            self.kinds.append("delta")
        else:
            self._replace(files, roots)
            self.kinds.append("snapshot")
        self.manifest = manifest

    # --- a snapshot ---

    def _replace(self, files: dict[str, bytes], roots: list[str]) -> None:
        self._verify(files)
        data = json.loads(files.get("data.json", b"{}"))
        for key in data:
            if not any(root == "" or root.split("/")[0] == key for root in roots):
                raise OpaRefused(f"manifest roots do not permit data at path '/{key}'")
        modules = {name: raw.decode() for name, raw in files.items() if name.endswith(".rego")}
        for text in modules.values():
            package = text.split("package ", 1)[1].split("\n", 1)[0].strip().replace(".", "/")
            if not any(_within(package, root) for root in roots):
                raise OpaRefused(f"manifest roots do not permit package {package}")
        self.data, self.modules = data, modules

    def _verify(self, files: dict[str, bytes]) -> None:
        if ".signatures.json" not in files:
            if self._keys:
                raise OpaRefused("bundle missing .signatures.json file")
            return
        if not self._keys:
            raise OpaRefused("verification key not provided")
        tokens = json.loads(files[".signatures.json"])["signatures"]
        if len(tokens) != 1:
            raise OpaRefused("expected exactly one JWT")
        kid = jwt.get_unverified_header(tokens[0])["kid"]
        if kid not in self._keys:
            raise OpaRefused(f"verification key ID {kid} not found")
        pem, algorithm = self._keys[kid]
        try:
            claims = jwt.decode(tokens[0], pem, algorithms=[algorithm])
        except jwt.PyJWTError as error:
            raise OpaRefused(str(error)) from error
        if claims.get("scope", "") != self._scope:
            raise OpaRefused("scope mismatch")
        self._verify_files(files, {each["name"]: each for each in claims["files"]})

    @staticmethod
    def _verify_files(files: dict[str, bytes], signed: dict[str, dict[str, str]]) -> None:
        for name, raw in files.items():
            if name == ".signatures.json":
                continue
            if name not in signed:
                raise OpaRefused(f"file {name} not included in bundle signature")
            said = signed.pop(name)
            structured = name.endswith(("data.json", ".manifest"))
            found = hashlib.new(said["algorithm"].replace("-", ""))
            found.update(canonical(json.loads(raw)) if structured else raw)
            if found.hexdigest() != said["hash"]:
                raise OpaRefused(f"{name}: digest mismatch")
        if signed:
            raise OpaRefused(f"files {sorted(signed)} not found in the target bundle")

    # --- a delta ---

    def _patch(self, files: dict[str, bytes], roots: list[str]) -> None:
        if self._persist:
            raise OpaRefused("persisting delta bundle to disk is not supported")
        if set(files) - {"patch.json", ".manifest"}:
            raise OpaRefused("delta bundle expected to contain only patch file")
        if sorted(roots) != sorted(self.manifest.get("roots", [])):
            raise OpaRefused("delta bundle has manifest roots that are different")
        operations = json.loads(files["patch.json"]).get("data", [])
        if not operations:  # OPA takes it for a snapshot without data, and all is gone
            self.data, self.modules = {}, {}
        for operation in operations:
            steps = [_step(part) for part in operation["path"].strip("/").split("/")]
            if not any(root == "" or root.split("/")[0] == steps[0] for root in roots):
                raise OpaRefused("manifest roots do not permit data patch")
            self._apply(operation["op"], steps, operation.get("value"))

    def _apply(self, op: str, steps: list[str], value: Any) -> None:
        at = self.data
        for step in steps[:-1]:
            if op == "upsert":
                at = at.setdefault(step, {})
            elif step in at:
                at = at[step]
            else:
                raise OpaRefused("storage_not_found_error")
        if op == "upsert":
            at[steps[-1]] = value
        elif op == "remove" and steps[-1] in at:
            del at[steps[-1]]
        else:
            raise OpaRefused(f"bad patch operation {op} at {steps}")


def untar(raw: bytes) -> dict[str, bytes]:
    """Return the files of a bundle."""
    try:
        plain = gzip.decompress(raw)
        with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
            return {
                info.name.lstrip("/"): member.read()
                for info in tar
                if (member := tar.extractfile(info)) is not None
            }
    except (OSError, tarfile.TarError) as error:
        raise OpaRefused(str(error)) from error


def canonical(value: Any) -> bytes:
    """Return what OPA hashes of a JSON value: keys in order, no blanks, Go's escapes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").encode()


def _step(part: str) -> str:
    """One step of a patch's path: percent-decoded, then RFC 6901."""
    return unquote(part).replace("~1", "/").replace("~0", "~")


def _within(path: str, root: str) -> bool:
    return root in ("", path) or path.startswith(root + "/")
