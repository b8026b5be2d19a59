# The course in a container, for JupyterHub, Binder or one's own machine: the environment of `make book`, and JupyterLab.
#
#   docker build --tag crop-maps .
#   docker run --rm --publish 8888:8888 crop-maps        # then open the address that it prints
FROM python:3.12-slim-bookworm AS system

RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap ca-certificates chromium git make openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/*

# JupyterHub and Binder say who runs the container.
ARG NB_USER=learner
ARG NB_UID=1000
RUN useradd --create-home --shell /bin/bash --uid ${NB_UID} ${NB_USER}
USER ${NB_USER}
WORKDIR /home/${NB_USER}

FROM system AS course

COPY --chown=${NB_UID}:${NB_UID} . course
WORKDIR /home/${NB_USER}/course
RUN make env GROUPS="tensorflow hub" && rm -rf "$HOME/.cache"

ENV PATH=/home/${NB_USER}/course/.venv/bin:$PATH
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser"]
