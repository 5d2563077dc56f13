# Predictions and the web page on a CPU: docker build -t diffiml . ; docs/get_started.md has the rest.
FROM python:3.12-slim

# On Linux, PyPI's torch comes with CUDA libraries of several GB; this index has the CPU build.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu

COPY . /opt/diffiml_plugin
WORKDIR /opt/diffiml_plugin
RUN python -m pip install --no-cache-dir -c requirements/constraints.txt '.[web,onnx]'
# OpenCV without windows, so that neither libGL nor an X server is needed.
RUN python -m pip uninstall --yes opencv-python \
    && python -m pip install --no-cache-dir --no-deps opencv-python-headless==5.0.0.93

RUN useradd --create-home forensics
USER forensics
WORKDIR /home/forensics
ENTRYPOINT ["diffiml"]
CMD ["--help"]
