"""
Serve confidences over HTTP
===========================

A recipe that is not run with the documentation: it needs ``pip install fastapi uvicorn`` beside
onnxruntime and pillow, and the file of ``export.to_onnx``; neither torch nor scikit-learn. ::

    python serve.py model.onnx --port 8000
    curl --data-binary @photo.jpg http://127.0.0.1:8000/score

It answers ``{"label": "cat", "confidence": 0.97, "known": 0.99, "score": 4.6}``; what the model
does not tell is left out. Change ``pixels`` into the preprocessing that the network was trained
with: the file has none in it.
"""

import argparse
import io
import json
import socket

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image

LARGEST = 10 * 2**20  # bytes of an upload


class Model:
    """The file of ``export.to_onnx``, opened once; many threads may use it."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        self.names = [output.name for output in self.session.get_outputs()]
        self.classes = json.loads(self.session.get_modelmeta().custom_metadata_map["classes"])

    def score(self, content):
        """Return what the model says of one picture."""
        picture = pixels(Image.open(io.BytesIO(content)), *self.input.shape[1:])
        found = self.session.run(self.names, {self.input.name: picture[None]})
        answer = dict(zip(self.names, (values[0] for values in found), strict=True))
        if answer["label"] < 0:
            raise ValueError("the network has NaN or infinite activations for this picture")
        label, probabilities = self.classes[answer.pop("label")], answer.pop("probabilities")
        numbers = {name: float(value) for name, value in answer.items()}
        return {"label": label, "confidence": float(probabilities.max()), **numbers}


def pixels(picture, n_channels, height, width):
    """Return a picture as the network takes it: here resized, with pixels in [0, 1]."""
    picture = picture.convert("L" if n_channels == 1 else "RGB").resize((width, height))
    values = np.asarray(picture, np.float32) / 255
    return values[None] if n_channels == 1 else np.moveaxis(values, -1, 0)


def application(model):
    """Return the service."""
    service = FastAPI(title="Confidences")

    @service.post("/score")
    async def score(request: Request) -> dict:
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > LARGEST:
                raise HTTPException(413, f"a picture may have {LARGEST:,} bytes")
        try:
            return await run_in_threadpool(model.score, content)
        except (OSError, ValueError) as error:
            raise HTTPException(422, f"cannot score this picture: {error}") from error

    return service


def main():
    """Serve until interrupted; port 0 is any that is free, and the address is printed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    service = application(Model(options.model))
    with socket.create_server((options.host, options.port)) as listening:
        print(f"http://{options.host}:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(service, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
