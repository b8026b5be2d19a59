# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] made_from="63c1e20f"
# # Caso de estudio B · Imágenes agrícolas que no caben en la memoria
#
# :::{admonition} De un vistazo
# :class: lab-header
# **Pregunta.** ¿Cómo se entrena un clasificador con más imágenes de las que caben en la memoria? ¿Y cuánto ayudan el formato de archivo y un segundo dispositivo?
#
# **Producto.** Un clasificador que identifica lo que va mal en una parcela, y su puntuación en parcelas nuevas. Una tabla compara las afirmaciones de un informe con lo que mides en tu máquina.
#
# **Al terminar sabrás**
# - calcular qué conjunto cabe en la memoria, y entrenar un modelo desde el disco si no cabe;
# - escribir las mismas imágenes en carpetas, en TFRecord y en Parquet, y comparar su velocidad de forma justa;
# - encontrar qué limita una canalización, y cuándo no puede ayudar otro formato de archivo;
# - describir cómo cambian el entrenamiento un lote mayor, los gradientes promediados y atrasados y un segundo dispositivo;
# - reconocer una red que ha memorizado su conjunto de entrenamiento;
# - comprobar si una comparación publicada respalda sus conclusiones.
#
# **Tiempo.** Unos 120 minutos en dos mitades, con una pausa antes de la sección 12. **Necesitas** saber qué es un lote (práctica 2) y qué es entrenar (práctica 3). No hace falta tarjeta gráfica.
# :::
#
# La práctica sigue un trabajo de maestría de 2021 (EAFIT), que hizo esta pregunta con las imágenes de Agriculture-Vision ([fuentes](../../book/es/bibliography.md)). Aquí lo llamamos «el informe».
# Cada actividad tiene cuatro partes, como en las prácticas anteriores. *Predice*: responde la pregunta antes de ejecutar la celda. *Ejecuta* la celda. *Lee* la explicación. *Comprueba*: un `assert` verifica lo que dice la explicación.

# %% made_from="234bbd3d"
from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # un cuaderno nuevo de Colab o Databricks
    home = "https://github.com/--home-not-set--/crop-maps-at-scale"
    if "not-set" in home:
        raise RuntimeError("Aún sin dirección: falta ejecutar make home URL=…")
    own = "" if find_spec("tensorflow") else ",platform-tensorflow"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[platform{own}] @ git+{home}"'
    )

from arsetlib import check_env, language

language("es")
check_env(("labs", "train", "images", "spark"))

# %% [markdown] made_from="2e6ad933"
# ## 1. Imágenes aéreas de parcelas
#
# En verano, un avión vuela sobre las parcelas con una cámara para rojo, verde, azul e infrarrojo cercano (NIR). La foto de cada parcela se corta en *recortes* (*chips*) cuadrados, y varias personas marcan lo que va mal: nueve clases de *anomalía*.
# Eso es Agriculture-Vision (Chiu y otros, 2020), con las carpetas `field_images/rgb`, `field_images/nir`, `field_labels/<class>`, `field_bounds` y `field_masks`.
# Su licencia prohíbe el uso comercial y la redistribución. Por eso el curso no contiene ninguna de sus imágenes: usa tu propia copia, o deja que un programa haga parcelas en las mismas carpetas.
#
# :::{admonition} Datos simulados
# :class: simulated
# Si no cambias la línea, ningún avión tomó estas imágenes. Un programa hizo las parcelas, sus cultivos y sus anomalías, y cada figura lleva la palabra *simulado*. Una puntuación muestra aquí cómo funciona el método. No dice si funcionaría igual en parcelas reales.
# :::

# %% made_from="6e02cbee"
from arsetlib import fields, lab

source = "simulated"  # o la carpeta de tu copia de Agriculture-Vision
here = lab.fields(source)
full = source == "simulated" and not here.small  # algunos assert lo necesitan
chips = fields.agriculture_vision(here.folder)
EVERY = -(-len(chips) // 600)  # como mucho 600 recortes; 1 si tienes horas
chips = chips[::EVERY]
print(f"{len(chips)} recortes de {len(set(chips.fields))} parcelas")
print(f"simulado: {chips.simulated}; {chips.licence}")
assert len(chips) <= 600

# %% tags=["hide-input"] made_from="d6b97989"
import keras
import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # sin consejos sobre velocidad en la práctica
# La sección 15 necesita dos dispositivos: el procesador se usa como dos.
processor = tf.config.list_physical_devices("CPU")[0]
twice = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(processor, twice)

# %% made_from="8363f3c6"
NAMES = list(fields.titles())
K = len(NAMES)
SIDE = chips.size[0]  # píxeles de un lado
pixels, valid = fields.read(chips, 0)
print(f"un recorte: {pixels.shape} {pixels.dtype}, {valid.mean():.0%} válido")
assert chips.labels.shape == (len(chips), K)
if chips.simulated:  # comprobar un conjunto grande tarda mucho
    assert fields.check(here.folder).ok

# %% [markdown] made_from="11cdb78b"
# ## 2. Nueve clases de anomalía
#
# Los nombres de las clases quedan en inglés, porque son también nombres de carpetas:
#
# | carpeta | qué es |
# |---|---|
# | *double plant* | siembra doble |
# | *drydown* | secado |
# | *endrow* | cabecera |
# | *nutrient deficiency* | deficiencia de nutrientes |
# | *planter skip* | fallo de siembra |
# | *storm damage* | daño por tormenta |
# | *water* | agua encharcada |
# | *waterway* | cauce de drenaje |
# | *weed cluster* | rodal de malezas |
#
# :::{admonition} Predice
# :class: predict
# ¿Cuáles de las nueve se ven en color verdadero? ¿Cuáles son más claras en el infrarrojo cercano? ¿Cuáles no se distinguen por su color, de modo que hay que ver su forma? Elige otra vista y mira de nuevo.
# :::

# %% made_from="b73f2a6d"
import matplotlib
import numpy as np


def views(pixels):
    """Un recorte (H, W, 4) en tres vistas."""
    red, green, _, nir = pixels.transpose(2, 0, 1)
    greenness = fields.ndvi(pixels) / 2 + 0.5  # 0..1
    return {
        "color verdadero": pixels[..., :3],
        "infrarrojo cercano": np.stack([nir, red, green], -1),
        "NDVI": matplotlib.colormaps["RdYlGn"](greenness)[..., :3],
    }


# %% made_from="1ce96e5f"
from PIL import Image


def marked(i, k):
    """(H, W) bool: dónde se marcó la clase k en el recorte i."""
    return np.asarray(Image.open(chips.paths(i).labels[k])) > 0


# %% made_from="01d95f31"
example = {}  # clase → un recorte que la muestra, si puede ser sola
for k in range(K):
    having = np.flatnonzero(chips.labels[:, k])
    alone = having[chips.labels[having].sum(1) == 1]
    if len(having):
        example[k] = alone[0] if len(alone) else having[0]
print(f"{len(example)} de {K} clases están en estos recortes")
assert all(marked(i, k).any() for k, i in example.items())

# %% made_from="e57c6841"
from arsetlib import figures

NOTES = {
    "color verdadero": "",
    "infrarrojo cercano": "el rojo es infrarrojo cercano   ",
    "NDVI": "NDVI: rojo −1, amarillo 0, verde 1   ",
}


def gallery(view):
    photos = {}
    for k, i in example.items():
        picture = views(fields.read(chips, i)[0])[view]
        photos[NAMES[k]] = picture, marked(i, k)
    note = f"{NOTES[view]}línea: contorno de la anomalía"
    return figures.outlined(photos, study=chips, note=note)


# %% made_from="97185f64"
figures.knob(
    gallery,
    "Un recorte de cada clase, con el contorno de la anomalía.",
    view=list(NOTES),
)

# %% [markdown] made_from="d051d946"
# Las imágenes dan una respuesta. La tabla siguiente da otra para los mismos recortes: la media de cada banda dentro del contorno, menos la media fuera de él.

# %% made_from="227841f2"
import pandas as pd

differences = {}
for k, i in example.items():
    (pixels, valid), inside = fields.read(chips, i), marked(i, k)
    within = pixels[inside & valid].mean(0)
    differences[NAMES[k]] = within - pixels[~inside & valid].mean(0)
bands = ["rojo", "verde", "azul", "NIR"]
differences = pd.DataFrame(differences, bands).T.rename_axis("clase")
title = "Media dentro del contorno menos media fuera, de 0 a 255"
figures.show(differences.round(1).reset_index(), title)

# %% made_from="0f33af09"
clearest = differences.abs().idxmax(axis=1)
print(f"más claras en NIR: {', '.join(clearest.index[clearest == 'NIR'])}")
print(f"menor diferencia de color: {differences.abs().max(axis=1).idxmin()}")
several = (chips.labels.sum(1) > 1).mean()
none = (chips.labels.sum(1) == 0).mean()
print(f"varias etiquetas: {several:.0%} de los recortes, ninguna: {none:.0%}")
if full:
    assert len(example) == K
    assert several > 0
    assert none > 0

# %% [markdown] made_from="0d8faa43"
# Estas son las respuestas. Una clase con un número grande en rojo, verde o azul se ve en color verdadero. La primera línea impresa indica las clases que son más claras en el infrarrojo cercano. La segunda indica la clase con la menor diferencia de color. Si todos los números de una clase son pequeños, solo queda su forma. Una cabecera, por ejemplo, se reconoce por la dirección de las hileras en el borde de una parcela.
# Un recorte puede tener varias etiquetas o ninguna, como muestra la última línea. Por eso el modelo responde nueve preguntas de sí o no (etiquetas múltiples, *multi-label*: una sigmoide por clase). No elige una clase entre nueve (etiqueta única, *single-label*: una softmax). Un directorio con una carpeta por clase solo puede guardar una etiqueta por recorte.
#
# ## 3. Contar, y dividir por parcela
#
# :::{admonition} Predice
# :class: predict
# ¿Cuántas veces más recortes tiene la clase más frecuente que la más rara? Los recortes de una parcela comparten su suelo, su cultivo y la hora del vuelo. ¿Qué recortes deben quedar, por tanto, en el mismo conjunto?
# :::

# %% made_from="11e030a2"
sides = fields.split(chips, seed=0)
train, validation, test = (sides[s] for s in ("train", "validation", "test"))
counts = {side: part.labels.sum(0) for side, part in sides.items()}
counts = pd.DataFrame(counts, NAMES)
fig = figures.bars(
    counts, "Recortes por clase y conjunto", "recortes", study=chips
)
figures.show(fig, "Recortes de cada clase en los tres conjuntos")

# %% made_from="f9591dc6"
total = counts.sum(axis=1)
print({side: f"{len(part)} recortes" for side, part in sides.items()})
print(f"{total.idxmax()}: {total.max()}, {total.idxmin()}: {total.min()}")
print(f"{total.max() / max(total.min(), 1):.0f} veces el número de la más rara")
print(f"«no» a las nueve: {1 - chips.labels.mean():.0%} de aciertos")

fields_of = {side: set(part.fields) for side, part in sides.items()}
assert not fields_of["train"] & (fields_of["validation"] | fields_of["test"])
assert not fields_of["validation"] & fields_of["test"]
assert sum(map(len, sides.values())) == len(chips)
if full:
    assert counts.min().min() > 0

# %% [markdown] made_from="34aec146"
# La tercera línea impresa da la proporción. Todos los recortes de una parcela deben estar en el mismo conjunto, así que la división asigna parcelas enteras. También intenta poner cada clase en cada conjunto. Los `assert` comprueban las dos cosas con las parcelas simuladas.
# Un modelo que nunca predice una clase puede tener una exactitud alta, como muestra la última línea. Por eso usamos F1 para cada clase, y su media, *macro-F1*.
#
# ## 4. Comprobar las cifras del informe
#
# El informe entrenó NASNetLarge con las imágenes en un directorio y en TFRecord, y dio estos tiempos.
#
# :::{admonition} Predice
# :class: predict
# Cinco veces más épocas deberían tardar unas cinco veces más. ¿En qué dispositivos es así? ¿Y qué columnas se pueden comparar?
# :::

# %% made_from="70cefa5d"
from arsetlib import evaluation, wording

times = evaluation.published.farm_times()
minutes = times.rename(
    columns={"directory": "directorio, min", "tfrecord": "TFRecord, min"}
)
minutes["proporción"] = times["directory"] / times["tfrecord"]
figures.show(minutes, "Minutos de entrenamiento según el informe, 2021")

# %% made_from="d3352577"
both = times.groupby("device").filter(lambda rows: len(rows) == 2)
growth = both.groupby("device")["directory"].agg(lambda t: t.max() / t.min())
for device, factor in growth.items():
    print(
        f"{wording.word(device)}: 50 épocas tardaron {factor:.1f} × lo que 10"
    )
reported = evaluation.published.farm_accuracy()
print(wording.shown(reported).to_string())
assert growth["CPU"] < 2
assert growth.drop("CPU").between(4.5, 5.5).all()

# %% [markdown] made_from="b443e9ff"
# Solo es así en las tarjetas gráficas. En el procesador, una época de la ejecución larga tardó mucho menos que una época de la corta: se midió también otra cosa, o una cifra está mal.
# Las dos columnas no se deben comparar. Como dice la columna `device`, el directorio se ejecutó en una P100 y TFRecord en una V100, que es otro modelo de tarjeta. La proporción mezcla dos efectos que no se pueden separar. Y `MirroredStrategy` reparte el trabajo entre dispositivos, pero aquí había uno solo.
# Así que las conclusiones pueden ser correctas, pero estas cifras no las demuestran. El resto de la práctica mide las afirmaciones y cambia una sola cosa cada vez.
#
# ## 5. ¿Qué conjunto cabe en la memoria?
#
# :::{admonition} Predice
# :class: predict
# Un recorte se guarda en dos archivos JPEG, uno para el color y otro para el NIR. ¿Cuántos bytes necesita cuando está decodificado, y cuántos como los números de 32 bits (*floats*) que necesita una red? ¿Cuántos gigabytes necesitan todos los recortes publicados?
# :::

# %% made_from="f00f2491"
files = [chips.paths(i) for i in range(len(chips))]
on_disk = sum(f.rgb.stat().st_size + f.nir.stat().st_size for f in files)
each = on_disk / len(chips)  # bytes de un recorte en JPEG
decoded = SIDE * SIDE * 4  # bytes, uno por cada banda de un píxel
print(f"JPEG {each:,.0f}, leído {decoded:,}, 32 bits {4 * decoded:,} bytes")
print(f"del disco a 32 bits, un recorte crece {4 * decoded / each:.0f} veces")
assert 4 * decoded / each > 16

# %% made_from="be2218e3"
ALL = 94_986  # recortes de Agriculture-Vision
saved_run = int(reported["images"].sum())
sizes = {"estos": len(chips), "los del informe": saved_run, "todos": ALL}
gigabytes = np.array([each, decoded, 4 * decoded]) / 1e9
rows = [(name, f"{n:,}", *(n * gigabytes)) for name, n in sizes.items()]
columns = ["conjunto", "recortes", "JPEG, GB", "leídos, GB", "32 bits, GB"]
memory = pd.DataFrame(rows, columns=columns)
figures.show(memory, "Lo que ocupa un conjunto en disco y en memoria")

# %% [markdown] made_from="3e197612"
# La primera línea impresa responde para un recorte, y la última fila de la tabla, para todos. La compresión JPEG oculta el tamaño: una carpeta pequeña en el disco es grande en la memoria. La segunda fila es la ejecución cuyos resultados guardó el informe.
#
# Esto era solo cálculo. Ahora mide. Dos procesos leen recortes como números de 32 bits. Uno *guarda* lo que ha leído, como hace `np.stack([...])` con una carpeta. El otro *libera* cada recorte después de leerlo. Los dos pueden usar solo una cuarta parte de la memoria que necesita el conjunto entero.

# %% tags=["hide-input"] made_from="7d85e336"
import os
import subprocess
import sys

READER = """
import resource, sys
from arsetlib import fields
folder, every, how, cap = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
chips = fields.agriculture_vision(folder)[::every]
fields.read(chips, 0)  # lo que se carga con el primer uso
page = resource.getpagesize()
def memory(column):  # bytes: 1 es memoria residente, 5 es memoria asignada
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(open("/proc/self/statm").read().split()[column]) * page
if sys.platform == "linux":
    most = memory(5) + int(cap)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
kept, before = [], memory(1)
try:
    for i in range(len(chips)):
        x = fields.read(chips, i)[0].astype("f4") / 255
        if how == "guarda":
            kept.append(x)
        print(i + 1, (memory(1) - before) / 1e6)
    print("done")
except MemoryError:
    print("MemoryError")
"""


def read_all(how, cap):
    """Un proceso que lee: recortes, MB más que al inicio y cómo termina.

    Args:
        how: "guarda" o "libera".
        cap: Bytes que puede ocupar.
    """
    asked = [str(here.folder), str(EVERY), how, str(cap)]
    run = subprocess.run(
        [sys.executable, "-c", READER, *asked],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *lines, last = run.stdout.split("\n")[:-1]
    read, used = np.array([s.split() for s in lines], float).T
    return read, used, last


# %% made_from="bf3a0428"
cap = 4 * decoded * len(chips) // 4  # un cuarto de los 32 bits
reached = {how: read_all(how, cap) for how in ("guarda", "libera")}
for how, (read, used, end) in reached.items():
    print(f"{how}: {len(read)} recortes, {used.max():.0f} MB más, {end}")

# %% made_from="539818f3"
lines = {how: (read, used) for how, (read, used, _) in reached.items()}
ends = {
    end: (read[-1:], used[-1:])
    for read, used, end in reached.values()
    if end == "MemoryError"
}
axes = ("recortes leídos", "más que al inicio, MB")
fig = figures.lines(
    lines, "Memoria de dos procesos que leen", *axes, study=chips, points=ends
)
fig.add_hline(cap / 1e6, line_dash="dot", annotation_text="el límite")
figures.show(
    fig, "Memoria según los recortes leídos, por un proceso que los guarda o no"
)

# %% made_from="4ea5f38e"
(kept, kept_mb, end), (_, released_mb, other_end) = reached.values()
print(f"se detuvo tras {len(kept)} de {len(chips)} recortes")
assert other_end == "done"
assert released_mb.max() < kept_mb.max()
if sys.platform == "linux":  # otros no aplican estos límites
    assert end == "MemoryError"
    assert abs(len(kept) - len(chips) / 4) < 0.1 * len(chips)

# %% [markdown] made_from="bd6a53bf"
# En Linux, el proceso que guarda sus recortes termina en el límite, tras una cuarta parte de ellos más o menos. El otro los lee todos y necesita menos memoria. Así que, si un conjunto es mayor que la memoria, guarda en ella solo un lote cada vez.
#
# :::{admonition} Ejercicio 1
# :class: exercise
# Los bytes (`uint8`) necesitan una cuarta parte de la memoria de los números de 32 bits. Un lado de 128 píxeles necesita una decimosexta parte de la memoria de 512 píxeles. ¿Cuántos de los recortes publicados caben en *tu* memoria en cada forma? La memoria de la máquina es `os.sysconf("SC_PHYS_PAGES")` por el tamaño de una página.
# :::

# %% tags=["hide-cell"] made_from="d7482893"
# Solución: a veces el conjunto reducido cabe, y no hace falta una
# canalización. Mide antes cuánto baja la puntuación al reducir
# (sección 18).
machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
for side in (512, 128):
    for kind, width in (("32 bits", 4), ("bytes", 1)):
        fits = machine // (side * side * 4 * width)
        print(f"{side} × {side} en {kind}: {fits:,} de {ALL:,} recortes")

# %% [markdown] made_from="c0e61325"
# ## 6. Un generador a mano
#
# Una función de Python con la palabra `yield` es un *generador*: calcula su siguiente valor solo cuando alguien lo pide.
#
# :::{admonition} Predice
# :class: predict
# ¿Cuánto tarda la llamada `lazily(...)`? ¿Cuánto tarda en estar listo su primer lote? ¿Y cuánto tardaría cargar antes todos los recortes?
# :::


# %% made_from="118e56ef"
def lazily(chips, batch):
    """Lotes de x (B, H, W, 4) en 0..1 e y (B, 9), hechos al pedirlos."""
    for start in range(0, len(chips), batch):
        some = range(start, min(start + batch, len(chips)))
        read = [fields.read(chips, i) for i in some]
        x = np.stack([pixels * valid[..., None] for pixels, valid in read])
        yield x.astype("f4") / 255, chips.labels[some].astype("f4")


# %% made_from="4350c2c1"
import time

clock = time.perf_counter()
mine = lazily(train, 16)
called = time.perf_counter() - clock
next(mine)
first = time.perf_counter() - clock
print(f"llamada: {1e6 * called:.0f} µs, primer lote tras {1e3 * first:.0f} ms")
print(f"cargarlos todos antes: unos {first * len(train) / 16:.1f} s")
assert called < first

# %% made_from="f049633e"
few = train[:48]
library = fields.batches(few, batch=16, size=SIDE)
pairs = zip(lazily(few, 16), library.arrays(), strict=True)
for (my_x, my_y), (x, y) in pairs:
    assert np.allclose(my_x, x, atol=1e-6)
    assert np.array_equal(my_y, y)
print(f"biblioteca: {library.steps} pasos, x {x.shape} {x.dtype}, y {y.shape}")

# %% [markdown] made_from="54048e5b"
# La llamada tarda microsegundos, porque no calcula nada: un generador avanza de un `yield` al siguiente cada vez que se le pide un valor. El primer lote solo necesita 16 recortes; cargarlos todos antes llevaría el tiempo de la segunda línea.
# `fields.batches` da los mismos números; un píxel fuera de la parcela o fuera de la vista de la cámara es 0. También puede leer en paralelo, reducir las imágenes, mezclarlas y aumentarlas con una semilla, y leer otros formatos.
#
# ## 7. Cuatro formas de un conjunto
#
# - Las **carpetas publicadas** tal como están, leídas por el generador.
# - Un **directorio**: una carpeta por clase, con archivos de imagen dentro.
# - **TFRecord**: registros uno tras otro en unos pocos archivos llamados *fragmentos* (*shards*), que se leen del primero al último.
# - **Parquet**: el formato de archivo de la práctica 1, con las imágenes codificadas en una columna binaria.
#
# :::{admonition} Predice
# :class: predict
# Los archivos JPEG se copian, no se codifican otra vez. ¿Qué forma ocupa más en el disco? ¿Qué hace el directorio con un recorte que tiene dos etiquetas? ¿Qué cambia si las imágenes de un TFRecord se reducen al convertirlas?
# :::

# %% made_from="4b01757d"
SEEN = SIDE // 4  # píxeles de un lado, como verá la red un recorte
forms = here.work / "forms"
MB = 1 if here.small else 16  # de un fragmento, más o menos
ways = {
    "directorio": {"form": "directory"},
    "TFRecord": {"form": "tfrecord", "shard_mb": MB},
    "Parquet": {"form": "parquet", "shard_mb": MB},
    "TFRecord, reducido": {"form": "tfrecord", "shard_mb": MB, "size": SEEN},
}
print(f"reducido: de {SIDE} × {SIDE} a {SEEN} × {SEEN} píxeles")

# %% made_from="8bc350ac"
made, seconds = {}, {}
for name, how in ways.items():
    clock = time.perf_counter()
    out = forms / name.lower().replace(", ", "-")
    made[name] = fields.convert(train, out, **how, progress=False)
    seconds[name] = time.perf_counter() - clock
    print(f"{name}: {seconds[name]:.1f} s")

# %% made_from="c5d37d9b"
rows = []
for name, folder in made.items():
    files = [f.stat().st_size for f in folder.rglob("*") if f.is_file()]
    speed = len(train) / seconds[name]
    rows.append((name, len(files), sum(files) / 1e6, seconds[name], speed))
columns = ["forma", "archivos", "MB", "segundos", "recortes por segundo"]
written = pd.DataFrame(rows, columns=columns)
figures.show(
    written,
    "Los recortes de entrenamiento en cuatro formas",
)

# %% made_from="9df1240f"
by_form = written.set_index("forma")
print(f"la más grande: {by_form['MB'].idxmax()}")
print(f"recortes con varias etiquetas: {sum(train.labels.sum(1) > 1)}")
files = by_form["archivos"]
assert files["TFRecord"] < files["directorio"] / 10
copies = by_form.loc[["directorio", "TFRecord", "Parquet"], "MB"]
assert copies.max() < 1.1 * copies.min()
assert by_form.MB["TFRecord, reducido"] < by_form.MB["TFRecord"] / 4

# %% [markdown] made_from="7a119f61"
# La primera línea indica la forma más grande; los tamaños de las tres copias de los archivos JPEG son parecidos. De cada recorte con varias etiquetas, un directorio conserva una y pierde las demás. El TFRecord reducido necesita menos de una cuarta parte del espacio, y sus imágenes necesitan menos decodificación en cada época (sección 10).
# Si ejecutas la celda otra vez, las formas ya están completas: ignora entonces los segundos. Una conversión que se interrumpió conserva sus fragmentos completos y continúa.
#
# ## 8. Dentro de un TFRecord
#
# Un fragmento es un archivo sencillo. Cada registro tiene cuatro partes: su longitud (8 bytes), una suma de comprobación de la longitud (4), el registro y una suma de comprobación del registro (4). El registro es un `Example` de *protobuf*: un diccionario de listas.
#
# :::{admonition} Predice
# :class: predict
# Para leer el registro 100 hay que saber dónde empieza. ¿Cómo puedes encontrar su posición? ¿Qué consecuencia tiene esto para la mezcla aleatoria?
# :::

# %% made_from="8c12dd78"
import struct


def records(path):
    """Los bytes de cada registro, uno tras otro."""
    with path.open("rb") as file:
        while head := file.read(12):
            (length,) = struct.unpack("<Q", head[:8])
            yield file.read(length)
            file.read(4)


# %% made_from="17aefeb1"
shards = sorted(made["TFRecord"].glob("*.tfrecord"))
by_hand = list(records(shards[0]))
by_library = [r.numpy() for r in tf.data.TFRecordDataset(str(shards[0]))]
print(f"{len(by_hand)} registros en {shards[0].name}")
assert by_hand == by_library

# %% made_from="eca535f8"
example = tf.train.Example.FromString(by_hand[0])
for key, feature in sorted(example.features.feature.items()):
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value
    what = f"{len(values[0]):,} bytes" if kind == "bytes_list" else list(values)
    print(f"{key:8} {what}")

# %% [markdown] made_from="abf16b00"
# Hay que leer las longitudes de los 99 registros anteriores, una tras otra. Por eso los registros suelen mezclarse en dos pasos: se toman los fragmentos en orden aleatorio, y se sortea entre los registros de un *búfer*.
#
# ¿Para qué sirven las sumas de comprobación? Cambia un bit en un fragmento, y otro en un archivo JPEG:


# %% made_from="3764f2f9"
def one_bit_changed(path):
    """Los bytes de un archivo, con un bit cambiado en el medio."""
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    return bytes(changed)


# %% made_from="ff62c880"
bad = forms / "one-bit-changed.tfrecord"
bad.write_bytes(one_bit_changed(shards[0]))
noticed = False
try:
    for _ in tf.data.TFRecordDataset(str(bad)):
        pass
except tf.errors.DataLossError as error:
    noticed = True
    print("TensorFlow:", error.message.split("}} ")[-1][:70])
assert noticed

# %% made_from="d30ade7c"
import io

photo = chips.paths(0).rgb
before = np.asarray(Image.open(photo))
try:
    after = np.asarray(Image.open(io.BytesIO(one_bit_changed(photo))))
    differ = (before != after).any(-1).sum()
    print(
        f"JPEG: ningún error, {differ:,} de {before[..., 0].size:,} píxeles difieren"
    )
    assert differ > 0
except OSError as error:
    print("JPEG:", error)

# %% [markdown] made_from="8dade038"
# TensorFlow encuentra el bit cambiado, porque la suma de comprobación no coincide. Un archivo JPEG no tiene suma de comprobación: si su línea impresa dice «ningún error», entrenarías con una imagen equivocada sin saberlo.
#
# ## 9. Velocidad de lectura, en frío y en caliente
#
# *Caliente* (*warm*) significa que los archivos siguen en la memoria del sistema operativo desde la última lectura. *Frío* (*cold*) significa que hay que leerlos del disco, como en cada época de un conjunto mayor que la memoria.
# La celda pide al sistema que quite los archivos de la memoria antes de cada lectura en frío. Todas las formas se leen por turnos, dos veces, y se toma el tiempo más corto, porque otros programas solo pueden hacer más lenta una lectura.
#
# :::{admonition} Predice
# :class: predict
# En la tabla del informe, TFRecord era unas dos veces más rápido que el directorio. ¿Qué esperas aquí, en frío y en caliente? ¿Cuánto se gana con un segundo lector? ¿Y qué forma es la más rápida?
# :::


# %% made_from="6b5b5639"
def forget(folder):
    """Pide al sistema que quite estos archivos de su memoria."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file() and hasattr(os, "posix_fadvise"):
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


# %% made_from="75c3bdd1"
def read_through(source, readers=2):
    """Imágenes por segundo de una pasada; no se entrena nada."""
    batches = fields.batches(source, batch=32, size=SEEN, readers=readers)
    dataset, n = batches.dataset, 0
    clock = time.perf_counter()
    for x, _ in dataset:
        n += len(x)
    return n / (time.perf_counter() - clock)


# %% made_from="14b3640b"
import itertools

forms_of = {"generador": train} | made
turns, counts = (range(1), [2]) if here.small else (range(2), [1, 2])
laps = []
for _, n, state, form in itertools.product(
    turns, counts, ("frío", "caliente"), forms_of
):
    if state == "frío":
        forget(made.get(form, here.folder))
    rate = read_through(forms_of[form], n)
    laps.append((form, f"{state}, {n} lector{'es' * (n > 1)}", rate))

# %% made_from="4e075093"
laps = pd.DataFrame(laps, columns=["forma", "estado", "rate"])
race = laps.groupby(["forma", "estado"], sort=False)["rate"].max().unstack()
title = "Velocidad de lectura de cada forma"
unit = "imágenes por segundo"
fig = figures.bars(race, title, unit, study=chips, mode="group")
figures.show(
    fig,
    "Imágenes por segundo, en frío y caliente",
)
alt = "Imágenes por segundo, el mejor de dos turnos"
figures.show(race.reset_index().round(0), alt)
assert (race > 0).all().all()

# %% made_from="fd6f952f"
versus = race.loc["TFRecord"] / race.loc["directorio"]
for state, ratio in versus.items():
    print(f"{state}: TFRecord / directorio {ratio:.2f}, ", end="")
    print(f"la más rápida: {race[state].idxmax()}")
if not here.small:
    second = race["caliente, 2 lectores"] / race["caliente, 1 lector"]
    print(f"segundo lector: de × {second.min():.2f} a × {second.max():.2f}")

# %% [markdown] made_from="02792b68"
# Las líneas impresas son las respuestas para tu máquina: la proporción que se compara con la del informe, la forma más rápida en cada estado y lo que se gana con un segundo lector. Compara solo dentro de una columna: la máquina, las imágenes y los lotes son los mismos, y solo cambia la forma. Si la proporción es mayor que 1 en una columna y menor que 1 en otra, la respuesta correcta es «ninguna diferencia medible».
# La forma reducida necesita menos trabajo en cada época, porque una parte del trabajo se hizo una sola vez, en la conversión.
# Una lectura en frío no es del todo fría: el sistema aún recuerda los nombres y las posiciones de los archivos. Además, el disco de una máquina alquilada puede tener su propia caché en memoria.
#
# ## 10. En qué se va el tiempo
#
# :::{admonition} Predice
# :class: predict
# Piensa en una imagen: leer sus bytes del disco, decodificar dos archivos JPEG, reducir el lado a una cuarta parte. ¿Qué tarda más? ¿Cuántas veces más rápido sería todo con un formato de archivo perfecto?
# :::


# %% made_from="f0f5117d"
def jpegs(folder):
    """`[(rgb, nir)]` Los bytes JPEG de los primeros 32 registros."""
    path = sorted(folder.glob("*.tfrecord"))[0]
    first = itertools.islice(records(path), 32)
    first = [tf.train.Example.FromString(r).features.feature for r in first]
    return [[f[b].bytes_list.value[0] for b in ("rgb", "nir")] for f in first]


def decode(pair, ratio=1):
    """(S / ratio, S / ratio, 4): JPEG puede omitir el detalle fino."""
    return tf.concat([tf.io.decode_jpeg(one, ratio=ratio) for one in pair], -1)


def reduce(x):
    return tf.image.resize(x, (SEEN, SEEN), "area")


# %% made_from="c6625deb"
def per_image(work, items):
    """Milisegundos; la mejor de tres pasadas."""
    passes = []
    for _ in range(3):
        clock = time.perf_counter()
        for item in items:
            work(item)
        passes.append(1e3 * (time.perf_counter() - clock) / len(items))
    return min(passes)


# %% made_from="82373dd3"
forget(made["TFRecord"])
clock = time.perf_counter()
total_bytes = sum(len(shard.read_bytes()) for shard in shards)
cold = time.perf_counter() - clock
print(f"disco, en frío: {total_bytes / cold / 1e6:.0f} MB por segundo")

# %% made_from="312972ac"
packed, small_packed = (
    jpegs(made[f]) for f in ("TFRecord", "TFRecord, reducido")
)
decoded_32 = [decode(pair) for pair in packed]
stages = {
    "leer del disco, en frío": 1e3 * cold / len(train),
    "decodificar a tamaño completo": per_image(decode, packed),
    "después reducir": per_image(reduce, decoded_32),
    "decodificar a un cuarto del lado": per_image(
        lambda pair: decode(pair, 4), packed
    ),
    "decodificar lo ya reducido": per_image(decode, small_packed),
}  # fmt: skip

# %% made_from="5a8da0b5"
stages = pd.Series(stages)
fig = figures.bars(
    stages, "Tiempo por imagen, un hilo", "ms", text=".2f", study=chips
)
figures.show(fig, "Milisegundos por imagen para leer, decodificar y reducir")

# %% made_from="3f7de390"
fetch, whole, reducing, work, _ = stages
print(f"lo que más tarda: {stages.idxmax()}")
print(f"si leer no costara tiempo: × {(fetch + work) / work:.2f} como mucho")
print(f"decodificar a un cuarto: × {(whole + reducing) / work:.2f}")
near = abs(tf.cast(decode(packed[0], 4), tf.float32) - reduce(decoded_32[0]))
print(f"diferencia media: {tf.reduce_mean(near):.1f} de 255")
assert tf.reduce_mean(near) < 3
if full:
    assert work < whole

# %% [markdown] made_from="f9d5837f"
# Las dos primeras líneas impresas responden las preguntas. La tercera da lo que se gana al decodificar a una cuarta parte del lado. JPEG guarda una imagen como ondas de distintas longitudes. Un decodificador que solo necesita una cuarta parte del lado puede omitir las ondas cortas. La biblioteca lo hace, y las imágenes son casi iguales, como muestra la última línea.
# Si la decodificación lleva la mayor parte del tiempo, ningún formato de archivo puede ayudar mucho. Entonces un factor de dos debe tener otra causa, como otra tarjeta o un disco remoto. Los cuadernos en la nube suelen leer de un almacenamiento que responde a cada solicitud tras decenas de milisegundos. Ahí importa el número de solicitudes:

# %% made_from="bad1fd35"
WIRE = 50e6  # bytes por segundo de la conexión
AT_ONCE = 8  # solicitudes a la vez
CORES = os.cpu_count()
requests_per_image = {
    "directorio": 2,  # color y NIR
    "TFRecord, fragmentos de 1 MB": each / 1e6,
    "TFRecord, fragmentos de 32 MB": each / 32e6,
}


def far(wait):
    """Imágenes por segundo que permite cada límite; `wait` en segundos."""
    n = pd.Series(requests_per_image, name="solicitudes por imagen")
    limits = {"espera": AT_ONCE / (wait * n), "conexión": WIRE / each}
    limits = pd.DataFrame(limits | {"decodificación": CORES * 1e3 / work})
    limits["imágenes por segundo"] = limits.min(axis=1)
    limits["límite"] = limits.iloc[:, :3].idxmin(axis=1)
    return limits.rename_axis("forma")


# %% made_from="4f2d3e7d"
WAIT = 0.03  # segundos hasta la respuesta a una solicitud; ¿y los tuyos?
shown = far(WAIT)
figures.show(
    shown.round(0).reset_index(), "Límites calculados para un disco remoto"
)
assert shown["imágenes por segundo"].is_monotonic_increasing
assert shown["espera"].idxmin() == "directorio"

# %% made_from="39ba3796"
near_disk = far(0.0001)  # como un disco dentro de la máquina
print(near_disk["imágenes por segundo"].round(0).to_dict())
assert near_disk["imágenes por segundo"].nunique() == 1

# %% [markdown] made_from="72cb514a"
# Según este cálculo, las formas son iguales en un disco local y distintas en uno remoto. Así que la respuesta a «¿es TFRecord más rápido que un directorio?» depende de cuál es el límite más bajo. Mide en la máquina en la que entrenas.
#
# ## 11. ¿Cuán grande debe ser un fragmento?
#
# El consejo habitual es usar fragmentos de 10 a 100 MB. Los fragmentos pequeños se pueden repartir entre más lectores y trabajadores; los grandes necesitan menos solicitudes.
#
# :::{admonition} Predice
# :class: predict
# En este disco y con dos lectores, ¿es más lento un solo fragmento grande que diez? ¿Y que cien?
# :::

# %% made_from="e16c57b9"
wanted = (0.05, 1) if here.small else (1, 12, 64)  # MB
cut = {}
for mb in wanted:
    out = forms / f"shards-{mb:g}"
    cut[mb] = fields.convert(train, out, shard_mb=mb, progress=False)
number = {mb: len(list(cut[mb].glob("*.tfrecord"))) for mb in wanted}
print({f"unos {mb:g} MB": f"{n} fragmentos" for mb, n in number.items()})
assert pd.Series(number).is_monotonic_decreasing

# %% made_from="97418dc2"
turns = 1 if here.small else 3
rates = {}
for mb, n in number.items():
    name = f"{n} fragmento{'s' * (n > 1)} de unos {mb:g} MB"
    rates[name] = [read_through(cut[mb]) for _ in range(turns)]
shard = pd.DataFrame(rates).median()
title = "Velocidad por tamaño de fragmento (dos lectores)"
fig = figures.bars(shard, title, "imágenes por segundo", study=chips)
figures.show(
    fig,
    "Imágenes por segundo por tamaño de fragmento",
)

# %% made_from="73e7dd14"
print(f"tamaño más rápido / más lento: {shard.max() / shard.min():.2f}")
spread = pd.DataFrame(rates).agg(lambda turn: turn.max() / turn.min())
print(f"turno más rápido / más lento de un tamaño: hasta {spread.max():.2f}")
parts = []
for worker in range(3):
    share = {"batch": 8, "size": SEEN, "part": (worker, 3)}
    parts.append(fields.batches(cut[wanted[0]], **share).rows())
print("tres trabajadores reciben", [len(p) for p in parts], "recortes")
assert sorted(np.concatenate(parts)) == list(range(len(train)))

# %% [markdown] made_from="01d7900c"
# Las barras son la respuesta para este disco. Si la primera proporción impresa no es mucho mayor que la segunda, el tamaño de un fragmento no causa ninguna diferencia medible. Con cada tamaño debe cumplirse una cosa, y el `assert` la comprueba: tres trabajadores juntos reciben cada recorte una vez.
#
# :::{admonition} Un buen momento para una pausa
# :class: tip
# La primera mitad trató de archivos y de lectura; la segunda trata del entrenamiento. Después de la pausa, ejecuta otra vez las celdas desde el principio.
# :::
#
# ## 12. Tamaño del lote
#
# La misma red pequeña ve las mismas imágenes durante el mismo número de épocas, en lotes de 8, 32 y 128. Una cuarta ejecución tiene lotes de 128 y una tasa de aprendizaje que crece con el lote, 16 veces mayor. Es la *regla de escala lineal* (Goyal y otros, 2017).
#
# :::{admonition} Predice
# :class: predict
# ¿Qué ejecución termina con la pérdida más baja? ¿Cuál entrena más imágenes por segundo? ¿Cuántos pasos da cada una?
# :::

# %% made_from="b7922bbc"
from arsetlib.models import images as networks

TINY = 32 if here.small else 64  # pequeño: caben todas en la memoria
every = fields.batches(chips, batch=64, size=TINY)
x_all, y_all = (np.concatenate(p) for p in zip(*every.arrays(), strict=True))
of_train = np.isin(chips.names, train.names)
x_train, y_train = x_all[of_train], y_all[of_train]
EPOCHS = 3 if here.small else 8
print(f"{len(x_train)} imágenes de {x_train.nbytes / len(x_train):,.0f} bytes")


# %% made_from="431a330e"
def train_with(batch, rate):
    """Pérdida de cada época, e imágenes por segundo."""
    network = networks.build("small", size=TINY, seed=1)
    network.compile(keras.optimizers.SGD(rate), "binary_crossentropy")
    network.train_on_batch(x_train[:batch], y_train[:batch])  # compila
    clock = time.perf_counter()
    epochs = network.fit(x_train, y_train, batch, EPOCHS, verbose=0)
    seconds = time.perf_counter() - clock
    return epochs.history["loss"], EPOCHS * len(x_train) / seconds


# %% made_from="d8904cb4"
runs = {
    "8": (8, 0.02),
    "32": (32, 0.02),
    "128": (128, 0.02),
    "128, tasa × 16": (128, 0.32),
}
results = {name: train_with(*how) for name, how in runs.items()}
losses = {name: loss for name, (loss, _) in results.items()}
losses = pd.DataFrame(losses, range(1, EPOCHS + 1))
print(f"{len(runs)} ejecuciones de {EPOCHS} épocas")

# %% made_from="7b177184"
title = "Pérdida por tamaño del lote"
fig = figures.lines(
    losses, title, "época", "pérdida de entrenamiento", study=chips
)
figures.show(fig, "Pérdida por época con lotes de 8, 32 y 128")

# %% made_from="3bc8d0f1"
table = pd.DataFrame({"última pérdida": losses.iloc[-1]}).rename_axis("lote")
table["imágenes por segundo"] = [rate for _, rate in results.values()]
table["pasos"] = [EPOCHS * -(-len(x_train) // b) for b, _ in runs.values()]
figures.show(table.reset_index(), "Las mismas imágenes y épocas, otros lotes")

# %% made_from="1339a605"
print(f"pérdida más baja: {table['última pérdida'].idxmin()}; ", end="")
print(f"más imágenes por segundo: {table['imágenes por segundo'].idxmax()}")
loss = table["última pérdida"]
lost = loss["128"] - loss["8"]
regained = (loss["128"] - loss["128, tasa × 16"]) / lost
print(f"la tasa más alta recupera el {regained:.0%} de la diferencia")
assert table["pasos"]["8"] > table["pasos"]["128"]
if not here.small:
    assert loss["8"] < loss["128"]
if full:
    assert loss["128, tasa × 16"] < loss["128"]

# %% [markdown] made_from="e27a24d7"
# Las líneas impresas y la columna de los pasos son las respuestas. Con la misma tasa de aprendizaje, el lote de 128 termina con una pérdida mayor que el de 8, porque da menos pasos: en esto el informe tiene razón. Cuántas imágenes más por segundo entrena depende del dispositivo.
# La última línea impresa dice qué parte de esta diferencia recupera la tasa más alta. Necesitas esta regla con varios dispositivos, porque juntos *son* un solo lote grande (sección siguiente).
#
# ## 13. Los gradientes de dos medios lotes
#
# *Paralelismo de datos* (*data parallel*): cada dispositivo tiene una copia de la red y una parte del lote. Los gradientes se promedian, y todas las copias dan el mismo paso.
#
# :::{admonition} Predice
# :class: predict
# ¿Es la media de los gradientes de dos mitades igual al gradiente del lote entero: exactamente, casi o nada? ¿Y con la normalización por lotes, que calcula medias dentro de su lote?
# :::

# %% made_from="66850be1"
network = networks.build("small", size=TINY, dropout=0, seed=1)
loss_of = keras.losses.BinaryCrossentropy()


def gradient(part, training):
    """Gradiente de la pérdida de unas imágenes, un arreglo por peso."""
    with tf.GradientTape() as tape:
        answers = network(x_train[part], training=training)
        loss = loss_of(y_train[part], answers)
    return tape.gradient(loss, network.trainable_variables)


# %% made_from="28524b0e"
def difference(training):
    """La mayor diferencia entre el todo y la media de las mitades."""
    all_32 = gradient(slice(0, 32), training)
    left = gradient(slice(0, 16), training)
    right = gradient(slice(16, 32), training)
    return max(
        float(tf.reduce_max(abs(w - (a + b) / 2)))
        for w, a, b in zip(all_32, left, right, strict=True)
    )


# %% made_from="0e5e9c29"
plain, normalised = difference(training=False), difference(training=True)
weights = gradient(slice(0, 32), False)
largest = max(float(tf.reduce_max(abs(w))) for w in weights)
print(f"mayor gradiente {largest:.4f}, mayor diferencia {plain:.1e}")
print(f"con normalización por lotes en cada mitad: {normalised:.1e}")
sent = sum(4 * int(tf.size(w)) for w in weights)
print(f"cada uno envía {sent / 1e6:.2f} MB por paso, con cualquier lote")
assert plain < 1e-4 * max(largest, 1)
assert normalised > 10 * plain

# %% [markdown] made_from="fabcef5c"
# La media es igual al gradiente del lote entero, salvo por el redondeo. Así que dos dispositivos con lotes de 16 equivalen a un dispositivo con un lote de 32. Con normalización por lotes en cada mitad no es así, como muestra la segunda línea. La biblioteca calcula sus medias con el lote entero. El costo de usar varios dispositivos es un mensaje en cada paso, tan grande como la red.
#
# ## 14. Gradientes promediados y gradientes atrasados
#
# En el SGD *promediado* (*averaged*), todos los dispositivos calculan con los mismos pesos y dan un paso con el gradiente medio, así que esperan al más lento. En el SGD *atrasado* (*delayed*) no esperan. Se turnan, y cada uno aplica un gradiente que calculó con pesos de hace algunos pasos. Ese número de pasos es el *retraso de los pesos* (*staleness*).
#
# Un problema pequeño muestra la diferencia: ¿hay secado (*drydown*) en un recorte? Una regresión logística responde a partir de la media y la dispersión de cada banda. Su pérdida tiene un solo mínimo, así que las ejecuciones solo difieren en cómo dan los pasos.
#
# :::{admonition} Predice
# :class: predict
# Hay ocho trabajadores (*workers*). Cada gradiente viene de 16 recortes, y en total se calculan 960 gradientes. ¿Qué pérdida es menor al final: la de ocho que promedian o la de ocho que se turnan? ¿Y si cada uno da pasos más grandes?
# :::

# %% made_from="70b769b8"
from scipy.special import expit

drydown = y_train[:, fields.CLASSES.index("drydown")]
stats = np.concatenate([x_train.mean((1, 2)), x_train.std((1, 2))], 1)
stats = (stats - stats.mean(0)) / stats.std(0)  # (N, 8)
stats = np.column_stack([stats, np.ones(len(stats))])  # (N, 9): el sesgo
print(f"{len(stats)} recortes, {drydown.mean():.0%} con secado")


# %% made_from="21159bfd"
def cross_entropy(weights):
    """Media de todos los recortes."""
    score = stats @ weights
    return np.mean(np.logaddexp(0, score) - drydown * score)


def slope(weights, rows):
    """Gradiente de la entropía cruzada de unos recortes."""
    error = expit(stats[rows] @ weights) - drydown[rows]
    return stats[rows].T @ error / len(rows)


def batches_of_16(seed):
    """Números de fila sin fin, en un orden nuevo en cada vuelta."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(stats))
        yield from order[: len(order) // 16 * 16].reshape(-1, 16)


# %% made_from="0a47d35f"
def averaged(workers, rate, steps):
    """Pérdida tras cada paso de trabajadores que se esperan unos a otros."""
    rows = [batches_of_16(worker) for worker in range(workers)]
    weights, losses = np.zeros(9), []
    for _ in range(steps):
        each = [slope(weights, next(mine)) for mine in rows]
        weights = weights - rate * np.mean(each, axis=0)
        losses.append(cross_entropy(weights))
    return np.array(losses)


def delayed(staleness, rate, steps):
    """Lo mismo con trabajadores por turnos: gradientes de pesos más viejos."""
    rows, losses = batches_of_16(0), []
    past = [np.zeros(9)] * (staleness + 1)  # los últimos son los actuales
    for _ in range(steps):
        past.append(past[-1] - rate * slope(past.pop(0), next(rows)))
        losses.append(cross_entropy(past[-1]))
    return np.array(losses)


assert np.allclose(averaged(1, 0.1, 50), delayed(0, 0.1, 50))

# %% made_from="22c49e89"
runs_of = {
    "uno solo": averaged(1, rate=0.1, steps=960),
    "8 promediados": averaged(8, rate=0.1, steps=120),
    "8 promediados, tasa × 8": averaged(8, rate=0.8, steps=120),
    "8 por turnos, retraso 7": delayed(7, rate=0.1, steps=960),
    "8 por turnos, tasa × 16": delayed(7, rate=1.6, steps=960),
}

# %% tags=["hide-input"] made_from="91da3843"
curves = {  # al final todos han calculado 960 gradientes
    name: (np.arange(1, len(loss) + 1) * 960 / len(loss), loss)
    for name, loss in runs_of.items()
}
axes = ("gradientes calculados", "entropía cruzada")
title = "Pérdida de un trabajador y de ocho trabajadores"
fig = figures.lines(curves, title, *axes, study=chips)
fig.data[-1].line.width = 1  # cambia mucho y taparía las demás
fig.update_xaxes(type="log", range=[0.7, 3])
fig.update_yaxes(type="log", range=[-0.6, 1])
figures.show(
    fig,
    "Entropía cruzada según los gradientes calculados, con un trabajador, con ocho que promedian y con ocho que se turnan",
)

# %% made_from="b9a1ba5a"
for name, losses in runs_of.items():
    print(f"{name}: {len(losses)} pasos, termina en {losses[-1]:.3f}")
ends = {name: v[-len(v) // 4 :].mean() for name, v in runs_of.items()}
assert ends["8 promediados"] > ends["8 por turnos, retraso 7"]
assert ends["8 promediados"] > ends["8 promediados, tasa × 8"]
if full:
    assert abs(ends["8 por turnos, retraso 7"] - ends["uno solo"]) < 0.02
assert ends["8 por turnos, tasa × 16"] > ends["8 por turnos, retraso 7"]

# %% [markdown] made_from="5963167b"
# Con la tasa pequeña, los ocho que se turnan terminan más abajo, porque los ocho que promedian solo dan una octava parte de los pasos. Con la tasa alta, los ocho que promedian terminan más abajo que con la tasa pequeña. Los gradientes atrasados pierden poco mientras los pasos son pequeños: compáralos con la curva «uno solo». Con una tasa alta, los gradientes atrasados se calcularon para pesos que ya son muy distintos. La pérdida oscila y termina alta, y ningún mensaje de error dice por qué.
#
# :::{admonition} Ejercicio 2
# :class: exercise
# ¿Cuánto puede atrasarse un gradiente? Haz una tabla con la última pérdida de `delayed` tras 500 pasos. Usa retrasos de 0, 1, 3, 7, 15 y 31, y tasas de 0.05 a 3.2, cada una el doble de la anterior. ¿Dónde falla el entrenamiento, y qué regla encuentras?
# :::

# %% tags=["hide-cell"] made_from="516428d8"
# Solución: a grandes rasgos, con el doble de retraso hace falta media tasa.
rates = 0.05 * 2.0 ** np.arange(7)
grid = {
    f"tasa {rate:g}": {
        s: delayed(s, rate, 500)[-1] for s in (0, 1, 3, 7, 15, 31)
    }
    for rate in rates
}
grid = pd.DataFrame(grid).rename_axis("retraso")
begin = cross_entropy(np.zeros(9))
figures.show(
    grid.reset_index(), f"La última pérdida; la primera fue {begin:.3f}"
)

# %% [markdown] made_from="d3465569"
# ## 15. Dos dispositivos
#
# `MirroredStrategy` promedia los gradientes por ti. Aquí el procesador se usa como si fuera dos dispositivos. Así ves lo que cuesta repartir el trabajo, pero no lo que se gana.
#
# :::{admonition} Predice
# :class: predict
# Tenemos la misma red, las mismas imágenes y el mismo lote de 32 en total. ¿Es igual la pérdida? ¿Cuántas imágenes por segundo entrenan dos dispositivos, comparados con uno?
# :::

# %% made_from="1e315982"
devices = [d.name for d in tf.config.list_logical_devices("CPU")]
strategies = {
    "uno": tf.distribute.OneDeviceStrategy(devices[0]),
    "dos": tf.distribute.MirroredStrategy(devices),
}
n = len(x_train) // 32 * 32  # lotes enteros, que dos pueden repartirse
arrays = {
    "train": (x_train[:n], y_train[:n]),
    "validation": (x_train[:8], y_train[:8]),
}
print(devices)
assert len(devices) == 2


# %% made_from="6cefb488"
def train_on(strategy):
    """El historial de un entrenamiento con una estrategia."""
    with strategy.scope():
        network = networks.build("small", size=TINY, dropout=0, seed=1)
    return fields.fit(
        network, arrays, strategy=strategy, batch=32, epochs=4, seed=1,
        optimizer="sgd", learning_rate=0.02, progress=False,
    ).history  # fmt: skip


# %% made_from="d842771f"
shared = {}
for name, strategy in strategies.items():
    history = train_on(strategy)
    seconds = np.median(history["seconds"][1:])  # la primera compila
    shared[name] = history["loss"], n / seconds
    print(f"{name}: última pérdida {history['loss'][-1]:.6f}, ", end="")
    print(f"{n / seconds:.0f} imágenes por segundo")

# %% made_from="235b4892"
gain = shared["dos"][1] / shared["uno"][1]
print(f"dos dispositivos en {CORES} núcleos: {gain:.2f} × la velocidad de uno")
assert np.allclose(shared["uno"][0], shared["dos"][0], rtol=0.02)
if full:
    assert gain < 1.5

# %% [markdown] made_from="85c81547"
# Las pérdidas son iguales, con una diferencia de hasta un 2 %. El factor impreso es la respuesta a la segunda pregunta. Es menor que 2, porque los dos dispositivos usan los mismos núcleos y deben intercambiar gradientes. El informe usaba `MirroredStrategy` con un solo dispositivo, así que no había nada que repartir. Dos *tarjetas* tendrían cada una sus propios núcleos; mide lo que se gana con ellas.
#
# Varias máquinas trabajan de la misma manera, por una red de comunicación. `arset fields train DATA RUN --workers 2` inicia dos procesos en esta máquina; en un clúster, Spark puede iniciar uno en cada máquina ([cómo](../../book/es/faq.md)). Si un trabajador muere, la ejecución termina con un error. Cuando la inicias otra vez, continúa desde su última copia de seguridad.
#
# ## 16. ¿Repartir los datos o el modelo?
#
# Si una red no cabe en un dispositivo, sus *capas* se pueden poner en varios: es el *paralelismo de modelo* (*model parallel*). Entonces los dispositivos envían activaciones, no gradientes. Qué es mejor depende de la capa. Cuenta las dos cosas en AlexNet (Krizhevsky y otros, 2012).
#
# :::{admonition} Predice
# :class: predict
# ¿Qué capas hacen la mayoría de las multiplicaciones, las convoluciones o las capas densas? ¿Cuáles tienen la mayoría de los parámetros?
# :::

# %% made_from="b526d6bb"
convolutions = [  # núcleo, canales de entrada y de salida, lado de la salida
    (11, 3, 96, 55),
    (5, 48, 256, 27),
    (3, 256, 384, 13),
    (3, 192, 384, 13),
    (3, 192, 256, 13),
]
dense = [(9216, 4096), (4096, 4096), (4096, 1000)]
parameters = {
    "convoluciones": sum(k * k * i * o for k, i, o, _ in convolutions),
    "densas": sum(i * o for i, o in dense),
}
multiplications = {
    "convoluciones": sum(k * k * i * o * s * s for k, i, o, s in convolutions),
    "densas": parameters["densas"],  # cada uno se usa una vez por imagen
}

# %% made_from="dbc5ec34"
BATCH = 128
activations = {
    "convoluciones": sum(o * s * s for *_, o, s in convolutions),
    "densas": 9216 + sum(o for _, o in dense),
}
counted = {"multiplicaciones, %": multiplications, "parámetros, %": parameters}
counted = pd.DataFrame(counted)
alex = 100 * counted / counted.sum()
alex["gradientes por paso, MB"] = 4e-6 * counted["parámetros, %"]
alex["activaciones por paso, MB"] = 4e-6 * BATCH * pd.Series(activations)
title = f"AlexNet con un lote de {BATCH}: su trabajo, y los datos que se envían"
figures.show(alex.rename_axis("capas").reset_index(), title)

# %% made_from="391edbbd"
mobile = networks.build("mobilenetv3", size=SEEN)
heads = [n for n in mobile.layers if isinstance(n, keras.layers.Dense)]
share = sum(n.count_params() for n in heads) / mobile.count_params()
print(f"MobileNetV3: {share:.1%} de los parámetros están en capas densas")
assert alex["multiplicaciones, %"]["convoluciones"] > 90
assert alex["parámetros, %"]["densas"] > 95
gradients, handed_on = alex.columns[2:]
assert alex.loc["densas", handed_on] < alex.loc["densas", gradients]
assert (
    alex.loc["convoluciones", gradients] < alex.loc["convoluciones", handed_on]
)
assert share < 0.05

# %% [markdown] made_from="d55d9fa6"
# Las convoluciones hacen la mayoría de las multiplicaciones y tienen pocos parámetros: reparte los *datos* y envía sus gradientes, que son pequeños. Las capas densas tienen casi todos los parámetros y hacen poco trabajo: reparte el *modelo* y envía sus activaciones, que son pocas. Usar las dos cosas en una red se llama *híbrido*.
# MobileNetV3 promedia toda la imagen antes de su última capa y tiene pocos parámetros en capas densas, como muestra la línea impresa. En redes así lo normal es el paralelismo de datos, y el modelo se reparte solo si no cabe. En Keras 3, las dos cosas necesitan pocas líneas si Keras usa JAX: `keras.distribution.DataParallel()` y `keras.distribution.ModelParallel(layout_map=…)`.
#
# ## 17. Imágenes memorizadas
#
# En el informe, la exactitud de entrenamiento es casi 1 y la de validación es mucho menor (la segunda tabla de la sección 4). Lo repetimos: pocas parcelas, sin aumento de datos, muchas épocas, una etiqueta por recorte. Y dividimos los recortes de dos maneras.
#
# :::{admonition} Predice
# :class: predict
# Si divides por recorte, hay recortes de una misma parcela en los dos conjuntos. ¿Es la diferencia entre las exactitudes de entrenamiento y de validación mayor o menor que si divides por parcela? ¿Es mejor la red?
# :::

# %% made_from="29e4608f"
single = y_all.sum(1) == 1
x_one, answer = x_all[single], y_all[single].argmax(1)
field_of = chips.fields[single]
print(f"{len(x_one)} recortes de una etiqueta, {len(set(field_of))} parcelas")


def split_by(unit, seed):
    """(N,) bool: tres de cada diez recortes para validar, por recorte o por parcela."""
    units = field_of if unit == "parcela" else np.arange(len(field_of))
    names, number = np.unique(units, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    return np.isin(number, order[: 3 * len(names) // 10])


away = split_by("parcela", seed=0)
assert not set(field_of[away]) & set(field_of[~away])


# %% [markdown] made_from="34d63efa"
# Un segundo modelo muestra el efecto de la división por sí sola. El *copista* (*copyist*) solo conoce la media y la dispersión de cada banda. Da a un recorte la etiqueta del recorte de entrenamiento con los colores más parecidos, así que no aprende nada sobre anomalías.

# %% made_from="38816d14"
look = np.concatenate([x_one.mean((1, 2)), x_one.std((1, 2))], 1)
look = (look - look.mean(0)) / look.std(0)


def copyist(away):
    """Exactitud del copista en los recortes de validación."""
    apart = ((look[away, None] - look[None, ~away]) ** 2).sum(-1)
    nearest = apart.argmin(1)
    return (answer[~away][nearest] == answer[away]).mean()


# %% made_from="dd1ad5cb"
SPLITS = ("recorte", "parcela")
copied = {
    by: np.mean([copyist(split_by(by, seed)) for seed in range(20)])
    for by in SPLITS
}
print({by: f"{accuracy:.2f}" for by, accuracy in copied.items()})
if full:
    assert copied["recorte"] > copied["parcela"]


# %% made_from="e6327cf0"
def memorise(x, y, away, epochs):
    """Exactitudes de cada época de una red sin *dropout*."""
    network = networks.build(
        "small", size=TINY, head="single", dropout=0, seed=1
    )
    network.compile(
        keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )  # fmt: skip
    unseen = (x_one[away], answer[away])
    return network.fit(
        x, y, 16, epochs, validation_data=unseen, verbose=0
    ).history


# %% made_from="20c5bbcd"
curves, knowing = {}, {}
for by in SPLITS:
    away = split_by(by, seed=0)
    epochs = 3 if here.small else 24
    history = memorise(x_one[~away], answer[~away], away, epochs)
    for side in ("accuracy", "val_accuracy"):
        name = "entrenamiento" if side == "accuracy" else "validación"
        curves[f"por {by}, {name}"] = history[side]
        knowing[by, f"red, {name}"] = np.mean(history[side][-5:])
    knowing[by, "copista, validación"] = copied[by]
    print(f"por {by}: {sum(~away)} para entrenar, {sum(away)} para validar")

# %% made_from="71a408dc"
curves = pd.DataFrame(curves, range(1, epochs + 1))
fig = figures.lines(
    curves, "Exactitud por división", "época", "exactitud", study=chips
)
fig.update_yaxes(range=[0, 1.02])
figures.show(fig, "Exactitud por época, conjunto y división")

# %% made_from="83f32570"
knowing = pd.Series(knowing).unstack().rename_axis("división por")
title = "Exactitud: últimas cinco épocas de la red, 20 divisiones del copista"
figures.show(knowing.reset_index(), title)
gap = knowing["red, entrenamiento"] - knowing["red, validación"]
print("diferencia:", gap.round(2).to_dict())
if full:
    assert knowing.loc["parcela", "red, entrenamiento"] > 0.9
    assert knowing.loc["parcela", "red, validación"] < 0.8
    assert gap["parcela"] > 0.15

# %% [markdown] tags=["answer"] made_from="209ec283"
# Con la división por parcela, la red ha memorizado casi todos los recortes de entrenamiento de las parcelas simuladas, y acierta en muchos menos de los nuevos. Las diferencias impresas responden la primera pregunta para una división de cada tipo. Con tan pocos recortes, otra semilla puede cambiar cuál es la mayor.
# La media del copista en 20 divisiones responde las dos preguntas con más claridad. Con la división por recorte su puntuación es mayor, aunque es el mismo modelo, porque encuentra un recorte de la misma parcela. Así que una puntuación mayor por recorte no significa que la red sea mejor: en una parcela nueva esa ventaja se pierde.
# Vale la pena probar tres remedios: más parcelas, aumento de datos (ejercicio 3) y pesos que se aprendieron en otro lugar (sección 19).
#
# :::{admonition} Ejercicio 3
# :class: exercise
# La imagen reflejada de una parcela también podría ser una parcela. Da al conjunto de entrenamiento cuatro copias de cada recorte: tal como es, reflejada de izquierda a derecha, de arriba abajo y de las dos maneras. Entrena con una cuarta parte de las épocas, y divide por parcela. ¿Qué pasa con las dos exactitudes?
# :::

# %% tags=["hide-cell"] made_from="c9936858"
# Solución: la red ve el mismo número de imágenes, y menos de ellas dos veces.
# Compara las dos líneas con la fila 'parcela' de la tabla.
away = split_by("parcela", seed=0)
x = x_one[~away]
x = np.concatenate([x, x[:, ::-1], x[:, :, ::-1], x[:, ::-1, ::-1]])
y = np.tile(answer[~away], 4)
history = memorise(x, y, away, 1 if here.small else 6)
for side in ("accuracy", "val_accuracy"):
    print(f"{side}: {np.mean(history[side][-3:]):.2f}")

# %% [markdown] made_from="5e448a18"
# ## 18. Entrenar con todo, probar con parcelas nuevas
#
# Ahora viene el entrenamiento completo: todas las etiquetas, todas las parcelas de entrenamiento leídas de fragmentos, imágenes aumentadas. El conjunto de validación elige la mejor época, y el de prueba se usa una vez, al final. Dos tamaños de imagen muestran lo que cuesta reducir: una cuarta parte del lado de un recorte, y la mitad de eso.
#
# :::{admonition} Predice
# :class: predict
# Un fallo de siembra es tan estrecho como una hilera; el secado puede cubrir media parcela. ¿Qué clases necesitan píxeles pequeños? ¿Cuáles puede encontrar un bosque aleatorio, que usa los colores pero no dónde están?
# :::

# %% made_from="d8ea001c"
learn = {"train": made["TFRecord, reducido"], "validation": validation}
LONG = 3 if here.small else 36
how = {
    "batch": 16,
    "learning_rate": 2e-3,
    "epochs": LONG,
    "patience": LONG - 1,
    "monitor": "val_macro_f1",
    "cache": True,
    "seed": 1,
    "progress": False,
}
print(f"como mucho {LONG} épocas de {len(train)} recortes")

# %% made_from="1da53fdd"
fitted, scores = {}, {}
for size in (SEEN,) if here.small else (TINY, SEEN):
    fitted[size] = fields.fit("small", learn, size=size, **how)
    known = learn["train"] if size == SEEN else None  # para las líneas base
    scores[size] = fields.evaluate(fitted[size], test, train=known)
best = scores[SEEN]
forest, majority = (best.baselines[b] for b in ("random forest", "majority"))
kept, history = fitted[SEEN].notes["best_epoch"], fitted[SEEN].history
trained_rate = len(train) / np.median(history["seconds"])
print(f"se conserva: época {kept} de {len(history['loss'])}")
print(f"{trained_rate:.0f} imágenes por segundo, con la validación")

# %% made_from="eb1d0676"
columns = {f"red, {size} px": s.model.f1 for size, s in scores.items()}
columns["bosque aleatorio"] = forest.f1
by_class = pd.DataFrame(columns, NAMES)
fig = figures.score_bars(by_class, study=chips, title="F1 en parcelas nuevas")
figures.show(fig, "F1 de cada clase: una red en dos tamaños, un bosque")

# %% made_from="225108cf"
title = f"Prueba: {len(test)} recortes de parcelas nuevas, {SEEN} píxeles"
figures.show(best.table().reset_index(), title)
assert majority.accuracy > 0.75
if full:
    assert majority.accuracy > best.model.accuracy
    assert best.model.macro_f1 > majority.macro_f1 == 0
    assert best.model.mean_average_precision > 0.35

# %% made_from="f07d05f5"
network = by_class[f"red, {SEEN} px"]
if not here.small:
    lost = network - by_class[f"red, {TINY} px"]
    print("pierden más con el tamaño menor:", lost.nlargest(3).index.tolist())
ahead = (network - by_class["bosque aleatorio"]).sort_values()
print("el bosque es mejor en:", ahead.index[ahead < 0].tolist())
print("la red tiene más ventaja en:", ahead.nlargest(3).index.tolist())
print("recortes de prueba de la clase más rara:", int(test.labels.sum(0).min()))

# %% [markdown] made_from="524fe7c7"
# Las líneas impresas dan la respuesta para esta ejecución: las clases que más pierden con el tamaño menor, y aquellas para las que basta el bosque aleatorio. Las clases raras tienen pocos recortes de prueba, así que un solo recorte cambia mucho su F1; no busques explicaciones para diferencias pequeñas.
# Si una clase se pierde por la reducción, se pierde en la *conversión*, antes de que la red la vea. Elige el tamaño según la anomalía más pequeña que debes encontrar.
# La línea base *majority* responde «no» a todo, así que su F1 es 0. Sin embargo, con las parcelas simuladas su exactitud es mayor que la de la red: aquí la exactitud no es una medida útil. La precisión media promedio (mAP, *mean average precision*) mide si los recortes de una clase se ordenan antes que los demás, para cualquier umbral.
#
# ## 19. Aprendizaje por transferencia
#
# Ahora hay otra finca, en otro año. Diez de sus parcelas están etiquetadas. El informe usó NASNetLarge con pesos aprendidos de ImageNet, una colección de fotos de animales y cosas cotidianas. Si hay conexión a internet, la celda descarga pesos así para MobileNetV3, que es más pequeña. Si no, usa pesos aleatorios y lo dice. El otro candidato es la red que acabas de entrenar.
#
# *Congelada* (*frozen*): el cuerpo de la red (*backbone*) conserva sus pesos, y solo aprende una última capa nueva. *Con ajuste fino* (*fine-tuned*): aprenden todas las capas, con una tasa de aprendizaje pequeña. Una última capa nueva empieza con pesos aleatorios. Pero nuestra red ya conoce las mismas nueve clases, así que también puede conservar su última capa.
#
# :::{admonition} Predice
# :class: predict
# Ordena estas redes por su puntuación: una red entrenada desde cero; la nuestra con una última capa nueva, congelada o con ajuste fino; la nuestra con su propia última capa y ajuste fino; la nuestra tal como está; MobileNetV3, congelada.
# :::

# %% tags=["hide-input"] made_from="3ce843d8"
import requests

from arsetlib import simulate

weights_at = f"{networks.HOME}/{networks.BACKBONES['mobilenetv3'].weights}"
try:
    photographs = (
        "imagenet" if requests.head(weights_at, timeout=3).ok else None
    )
except requests.RequestException:
    photographs = None
if photographs is None:
    print("Sin conexión: MobileNetV3 recibe pesos aleatorios.")

other = here.data / ("farm-toy" if here.small else "farm")
of_field = 3 if here.small else 6
simulate.fields(
    other, seed=2, fields=30, chips=of_field, size=SIDE, progress=here.bars
)

# %% made_from="2e50999b"
farm = fields.agriculture_vision(other)
number = np.unique(farm.fields, return_inverse=True)[1]
ten = {
    "train": farm[number < 7],
    "validation": farm[np.isin(number, (7, 8, 9))],
}
elsewhere = farm[number >= 10]
print({side: f"{len(part)} recortes" for side, part in ten.items()})
print(f"prueba: {len(elsewhere)} recortes; simulado: {farm.simulated}")
assert not {*elsewhere.fields} & {*farm.fields[number < 10]}
seen_in = ten["train"].labels.sum(0)
print(
    "en ningún recorte de entrenamiento:",
    [n for n, c in zip(NAMES, seen_in, strict=True) if c == 0],
)

# %% made_from="5ce36985"
saved = fitted[SEEN].save(here.work / "classifier")
ours = saved / "model.keras"
EPOCHS = 3 if here.small else 24


def adapted(network, epochs=EPOCHS, **how):
    """Una red entrenada con siete de las diez parcelas."""
    return fields.fit(
        network, ten, size=SEEN, batch=16, epochs=epochs, patience=epochs - 1,
        cache=True, seed=2, progress=False, **how,
    )  # fmt: skip


# %% [markdown] made_from="c1f9b215"
# El entrenamiento siguiente usa una semilla distinta de la de la sección 18, y hay una razón. Una semilla decide los pesos aleatorios con los que empieza una última capa. Compáralos con la última capa entrenada de nuestra red:

# %% made_from="e992d5fc"
learnt = networks.load(ours).get_layer("head").kernel.numpy().ravel()
for seed in (1, 2):
    fresh = networks.build("small", size=SEEN, seed=seed).get_layer("head")
    likeness = np.corrcoef(learnt, fresh.kernel.numpy().ravel())[0, 1]
    print(f"semilla {seed}: correlación {likeness:.2f} con la capa entrenada")
    assert (likeness > 0.3) == (seed == how["seed"])

# %% [markdown] made_from="91c8783a"
# El entrenamiento cambió solo un poco los primeros pesos de la última capa. Así que, con la semilla de la sección 18, una última capa «nueva» sería casi la antigua, y la comparación no sería justa.

# %% made_from="7371426f"
new_layer = {"weights": ours, "learning_rate": 1e-2}
short = max(EPOCHS // 3, 2)  # épocas
frozen = new_layer | {"freeze": short, "epochs": short}
tuned = new_layer | {"freeze": short}
gently = {"learning_rate": 2e-4, "epochs": short}
features = {"weights": photographs, "learning_rate": 1e-2, "freeze": EPOCHS}
ways = {
    "desde cero": ("small", {"learning_rate": 3e-3}),
    "última capa nueva, congelada": ("small", frozen),
    "última capa nueva, ajuste fino": ("small", tuned),
    "toda la nuestra, ajuste fino": (networks.load(ours), gently),
    f"MobileNetV3, {photographs or 'pesos aleatorios'}": (
        "mobilenetv3",
        features,
    ),
}
if here.small:
    ways = {name: ways[name] for name in list(ways)[:4:3]}

# %% made_from="af923d50"
moved = {"la nuestra, tal como está": fitted[SEEN]}
for name, (network, how) in ways.items():
    moved[name] = adapted(network, **how)
tested = {n: fields.evaluate(m, elsewhere).model for n, m in moved.items()}
transfer = {n: s.mean_average_precision for n, s in tested.items()}
transfer = pd.Series(transfer).sort_values(ascending=False)

# %% made_from="6a97eae8"
unit = "precisión media promedio"
title = "Puntuación en la finca nueva"
fig = figures.bars(transfer, title, unit, text=".3f", study=farm)
figures.show(fig, "Precisión media promedio con varios comienzos")

# %% made_from="da24789a"
begin, bent = transfer[["desde cero", "toda la nuestra, ajuste fino"]]
as_it_is = transfer["la nuestra, tal como está"]
print(f"el ajuste fino de toda la nuestra la cambia en {bent - as_it_is:+.3f}")
assert ((transfer > 0) & (transfer <= 1)).all()
if full:
    fresh = transfer[[name for name in ways if name.startswith("última capa")]]
    assert as_it_is > fresh.max()
    assert fresh["última capa nueva, ajuste fino"] > begin
    assert bent > fresh.max()
    assert abs(bent - as_it_is) < 0.05

# %% [markdown] tags=["answer"] made_from="8ad2671f"
# Las barras dan el orden. Con las fincas simuladas, nuestra red *tal como está*, sin ningún entrenamiento en la finca nueva, tiene mejor puntuación que las dos redes con una última capa nueva. La razón es el número de etiquetas. Una última capa nueva debe aprender nueve clases con los pocos recortes de siete parcelas; una celda anterior imprimió las clases que no están en ninguno de ellos. La última capa antigua ha aprendido de todos los recortes de entrenamiento de la sección 18.
# Así que, si las clases son las mismas, conserva la última capa. Entonces el ajuste fino con tan pocos recortes cambia poco, como muestra la línea impresa. Si las clases son otras, necesitas una última capa nueva. Con ajuste fino, su puntuación aún es mejor que la de la red entrenada desde cero, porque sus demás capas han aprendido de parcelas.
# Un programa hizo las dos fincas, y dos fincas reales pueden diferir más. MobileNetV3 con pesos aleatorios muestra la puntuación de una última capa sobre características que no se entrenaron. Prueba de la misma manera los pesos de fotos antes de pagar por una red grande.
#
# ## 20. ¿Cuánto cuesta?
#
# El costo es horas por precio, más el almacenamiento. Los nombres en mayúsculas son *entradas*: pon los precios de tu proveedor, en tu moneda, y cuántas imágenes por segundo entrena tu dispositivo.
#
# :::{admonition} Predice
# :class: predict
# Una tarjeta que puede entrenar con 4,000 imágenes por segundo está en una máquina con 4 núcleos. ¿Durante cuántos minutos de cada hora pagada calcula la tarjeta?
# :::

# %% made_from="ae14b0ff"
TIMES = 10  # épocas
CARD = 4_000  # imágenes por segundo que podría entrenar una tarjeta
STORE = 0.02  # por GB y mes
core_rate = trained_rate / CORES  # imágenes por segundo que entrena un núcleo
PRICES = {  # máquina: núcleos, precio por hora, imágenes por segundo de la red
    "2 núcleos": (2, 0.10, core_rate * 2),
    "16 núcleos": (16, 0.80, core_rate * 16),
    "tarjeta, 4 núcleos": (4, 0.60, CARD),
    "tarjeta, 16 núcleos": (16, 1.20, CARD),
}
READ = {  # imágenes por segundo que un núcleo lee, decodifica y reduce
    "JPEG original": race.loc["TFRecord"].max() / CORES,
    "reducido una vez": race.loc["TFRecord, reducido"].max() / CORES,
}
print(f"un núcleo entrena {core_rate:.0f} imágenes por segundo", end=", lee ")
print({form: round(rate) for form, rate in READ.items()})


# %% made_from="f9bbed74"
def bill(machine, form):
    """Lo que cuestan todas las épocas en una máquina, y cuánto espera la red."""
    cores, price, network = PRICES[machine]
    rate = min(cores * READ[form], network)
    hours = ALL * TIMES / rate / 3600
    waits = 100 * (1 - rate / network)
    return {
        "máquina": machine, "forma": form, "imágenes/s": rate,
        "espera, %": waits, "horas": hours, "precio": hours * price,
    }  # fmt: skip


# %% made_from="e6823645"
bills = pd.DataFrame([bill(m, f) for f in READ for m in PRICES])
title = f"{TIMES} épocas de {ALL:,} imágenes; espera: la de la red"
figures.show(bills, title)
kept_gb = ALL * each / 1e9
print(f"guardar {kept_gb:.0f} GB de JPEG: {STORE * kept_gb:.2f} al mes")
assert np.allclose(
    bills["precio"] / bills["horas"], [p for _, p, _ in PRICES.values()] * 2
)

# %% made_from="f2707878"
of_card = bills[bills["máquina"] == "tarjeta, 4 núcleos"].set_index("forma")
worked = 60 * (1 - of_card["espera, %"] / 100)
print("minutos de cada hora que calcula la tarjeta:", worked.round(1).to_dict())
print(
    f"lo más barato: {bills.loc[bills['precio'].idxmin(), ['máquina', 'forma']].tolist()}"
)
assert (bills["espera, %"] >= 0).all()
if full:
    assert of_card["precio"].is_monotonic_decreasing

# %% [markdown] made_from="9db2783f"
# Los minutos impresos son la respuesta: en los demás minutos la tarjeta espera su entrada, y tú los pagas. Si las imágenes se reducen una vez, o si hay más núcleos, la tarjeta espera menos. La última línea indica la combinación más barata con estos precios.
# Una máquina *spot* cuesta menos, porque el proveedor puede quitártela en cualquier momento. Solo puede usarla una ejecución que se pueda reanudar.
#
# :::{admonition} Ejercicio 4
# :class: exercise
# La conversión lee todas las imágenes una vez. ¿Después de cuántas épocas ha ahorrado ese tiempo el TFRecord reducido en esta máquina? Usa las velocidades medidas.
# :::

# %% tags=["hide-cell"] made_from="c191a404"
# Solución: el tiempo gastado, dividido por lo que ahorra cada época. Si las
# formas ya estaban completas, ignora los segundos de la conversión.
spent = 1 / by_form.loc["TFRecord, reducido", "recortes por segundo"]
fast = race.loc["TFRecord, reducido"].max()
for name in ("generador", "directorio"):
    saved = 1 / race.loc[name].max() - 1 / fast
    print(
        f"{name}: {1e3 * spent:.1f} ms por recorte gastados, {1e3 * saved:.1f} ms ahorrados"
    )
    print(f"   compensado tras {max(spent / saved, 0):.1f} épocas")

# %% [markdown] made_from="ccc849f8"
# ## 21. Dónde se ejecuta cada parte
#
# :::{admonition} Predice
# :class: predict
# ¿Qué partes se pagan por hora, y cuáles por mes? ¿Qué datos no se deben perder nunca? ¿Qué máquinas pueden detenerse en cualquier momento?
# :::

# %% tags=["hide-input"] made_from="f88390e9"
BOXES = {  # columna, fila, qué es, qué cuesta
    "cámara": (0, 1, "avión, dron\nRGB + NIR", "un vuelo"),
    "almacén": (1, 1, "almacenamiento\nimágenes originales", "GB · mes"),
    "convertir": (
        2,
        1,
        "muchos núcleos, spot\nconvertir una vez",
        "núcleo · hora",
    ),
    "fragmentos": (3, 1, "almacenamiento\nfragmentos e índice", "GB · mes"),
    "entrenar": (3, 0, "tarjetas, spot\nentrenar, copiar", "tarjeta · hora"),
    "modelo": (2, 0, "registro\nmodelo y puntuaciones", "poco"),
    "predecir": (
        1,
        0,
        "núcleos, por lotes\nmarcar imágenes nuevas",
        "núcleo · hora",
    ),
    "personas": (0, 0, "agrónomos\nmiran, corrigen", "tiempo de trabajo"),
}
ARROWS = [
    ("cámara", "almacén"), ("almacén", "convertir"), ("convertir", "fragmentos"),
    ("fragmentos", "entrenar"), ("entrenar", "modelo"), ("modelo", "predecir"),
    ("almacén", "predecir"), ("predecir", "personas"), ("personas", "almacén"),
]  # fmt: skip
figures.show(
    figures.flow(BOXES, ARROWS),
    "De la cámara a un almacenamiento, una conversión a fragmentos, entrenamiento "
    "en tarjetas; el modelo marca imágenes nuevas, que un agrónomo corrige",
)

# %% made_from="cf657a57"
for unit in ("mes", "hora"):
    paid = [name for name, (*_, price) in BOXES.items() if unit in price]
    print(f"por {unit}:", ", ".join(paid))
spot = [name for name, (_, _, text, _) in BOXES.items() if "spot" in text]
print("pueden detenerse en cualquier momento:", ", ".join(spot))
assert {end for _, end in ARROWS} == set(BOXES) - {"cámara"}

# %% [markdown] made_from="6f25554b"
# Las líneas impresas son las respuestas. Las imágenes originales no se deben perder nunca, porque el vuelo no se puede repetir. Los fragmentos se pueden hacer otra vez a partir de ellas, y el modelo se puede entrenar otra vez. El proveedor puede quitarte una máquina *spot*; el trabajo continúa desde los fragmentos completos o desde la última copia de seguridad.
# Ten todas las partes en una misma región, porque los proveedores suelen cobrar por los datos que salen de ella. La flecha de los agrónomos al almacenamiento lleva etiquetas corregidas para el siguiente entrenamiento.
#
# ## 22. ¿Quién se beneficia y quién no?
#
# - **Licencia.** Agriculture-Vision no se puede usar con fines comerciales ni pasar a otros. Pregunta a sus autores antes de usar en un producto un modelo que se entrenó con ella. La biblioteca lo dice cuando lee la carpeta, y no incluye ninguna de sus imágenes.
# - **Dependencia.** Quien siempre sigue a un modelo puede perder la capacidad de decidir sin él. ¿Qué pasa el año en que el servicio termina, o en que el tiempo es distinto?
# - **Monocultivo.** Un modelo conoce los cultivos y las fincas con los que se entrenó. Si su puntuación es peor en parcelas pequeñas y mixtas, los dueños de estas reciben peores consejos. ¿Empuja esto a todos hacia los mismos cultivos?
# - **Brecha digital.** ¿Puede una finca de diez hectáreas pagar vuelos, tarjetas y conexiones como una finca de mil?
# - **Concentración de datos.** Cada parcela que se fotografía mejora el modelo de quien posee las imágenes. ¿De quién son? ¿Quién puede ver el mal año de un vecino? ¿Quién puede usar lo que sabe por los datos para fijar precios?
#
# Ningún valor de F1 responde estas preguntas. Cuando publiques una puntuación, indica de quién eran las parcelas en que se midió, quién puede usar el modelo y para qué.
#
# ## 23. Lo publicado y lo medido
#
# :::{admonition} Predice
# :class: predict
# ¿Qué conclusiones del informe se confirman en tu máquina, cuáles no, y cuáles no se pueden comprobar en ella?
# :::

# %% tags=["hide-input"] made_from="f4c1086e"
took = times.set_index(["device", "epochs"])
card = took.xs(50, level="epochs").filter(like="GPU:", axis=0).iloc[0]
one_card = took.xs(50, level="epochs").loc["one GPU, mirrored"]
processor = took.loc[("CPU", 50)]
between = reported[["lowest", "highest"]].round(2).astype(str)
between = between.agg("-".join, axis=1)
warm, cold = (versus[f"{state}, 2 lectores"] for state in ("caliente", "frío"))
fastest = race.max(axis=1)
worth = fastest["TFRecord, reducido"] / fastest["directorio"]
floats = 4 * decoded * len(chips) / 1e6
by = {
    unit: f"{row['red, entrenamiento']:.2f} y {row['red, validación']:.2f}"
    for unit, row in knowing.iterrows()
}
on_data = {
    "se puede entrenar con más de lo que cabe en memoria": (
        f"{saved_run:,} imágenes en la ejecución que guardó",
        "sí, el método: hay un lote en la memoria",
        f"{released_mb.max():.0f} MB en la memoria para {floats:,.0f} MB en 32 bits",
    ),
    "TFRecord es mejor que un directorio": (
        f"× {card.directory / card.tfrecord:.1f} en tarjetas",
        "no: una P100 contra una V100",
        f"dos lectores: × {warm:.2f} en caliente, × {cold:.2f} en frío",
    ),
    "los fragmentos ayudan al leer en paralelo": (
        "sin cifra",
        "en discos remotos",
        f"del tamaño más lento al más rápido: × {shard.max() / shard.min():.2f}",
    ),
    "convertir cuesta, y compensa": (
        "sin cifra",
        "si el entrenamiento es largo",
        f"reducido una vez: × {worth:.1f} el directorio",
    ),
}
on_training = {
    "una tarjeta gráfica es más rápida": (
        f"× {processor.tfrecord / card.tfrecord:.0f} el procesador",
        "el factor no: las filas del procesador se contradicen",
        "no se midió: no hay tarjeta",
    ),
    "las estrategias ayudan con más de un dispositivo": (
        f"con uno: {one_card.tfrecord} min, no {card.tfrecord}",
        "que uno solo no gana nada",
        f"dos en los mismos núcleos: × {gain:.2f}",
    ),
    "los lotes mayores aprenden peor": (
        "sin cifra",
        "sí, con la misma tasa",
        f"pérdida {loss['8']:.2f} con 8, {loss['128']:.2f} con 128, "
        f"{loss['128, tasa × 16']:.2f} con una tasa más alta",
    ),
    "una exactitud de alrededor del 60 %": (
        f"entrenamiento {between['train']}, validación {between['validation']}",
        "como ejemplo de sobreajuste",
        f"división por parcela {by['parcela']}, por recorte {by['recorte']}",
    ),
    "los pesos de otro lugar ayudan": (
        "NASNetLarge fue la mejor",
        "verosímil; sin conjunto de prueba",
        f"mAP {begin:.2f} desde cero, {bent:.2f} desde otras parcelas",
    ),
}

# %% made_from="7e9c1e38"
columns = ["afirmación", "publicado", "¿es fiable?", "medido aquí"]
for what, rows in (("los datos", on_data), ("el entrenamiento", on_training)):
    table = [(claim, *row) for claim, row in rows.items()]
    table = pd.DataFrame(table, columns=columns)
    figures.show(table, f"El informe sobre {what}, y esta ejecución")
assert begin == tested["desde cero"].mean_average_precision
at_two = race["caliente, 2 lectores"]
assert np.isclose(warm, at_two["TFRecord"] / at_two["directorio"])

# %% [markdown] made_from="2d8955d7"
# La última columna es la respuesta para tu máquina; compárala con la columna «publicado». Las cifras del informe no pueden mostrar *cuánto* ayuda un cambio, porque cambió más de una cosa a la vez. Para saberlo, cambia una sola cosa cada vez.
#
# ## Lo que has aprendido
#
# - Un cálculo sencillo dice si un conjunto cabe en la memoria. Un generador tiene un lote en la memoria, por grande que sea el conjunto.
# - Un formato de archivo ayuda si el límite es la lectura. Si el límite es la decodificación, decodifica menos, o una sola vez.
# - TFRecord es una lista de registros con sumas de comprobación: pocos archivos grandes, leídos en orden, buenos para discos remotos.
# - Con la misma tasa de aprendizaje, los lotes mayores aprenden menos en una época; varios dispositivos son un solo lote grande. Los gradientes atrasados necesitan pasos pequeños.
# - Dos dispositivos en los mismos núcleos no son el doble de rápidos. Mide lo que se gana con dos tarjetas.
# - La exactitud de entrenamiento dice cuánto puede memorizar una red; solo las *parcelas* nuevas dicen lo que ha aprendido.
# - Si las clases son las mismas, conserva la última capa de una red: una nueva debe aprender otra vez con pocas etiquetas.
# - Antes de comparar dos cifras, escribe todo lo que difiere entre ellas.
#
# ## ¿Y si…?
#
# - **¿… tengo Agriculture-Vision?** Pon su carpeta en `source`; el lector conoce `train` y `val`, las carpetas de la descarga. Conviértela una vez: `arset fields convert FOLDER OUT --size 256`.
# - **¿… mis imágenes muestran otra cosa?** Ponlas en las mismas carpetas, con tus máscaras; una imagen necesita un archivo de color y otro de infrarrojo cercano.
# - **¿… tengo varias tarjetas?** Usa `strategy="mirrored"`, y sube juntos el lote y la tasa (`training.workers.linear_rate`). Antes compara una con dos.
# - **¿… tengo varias máquinas?** Usa `strategy="workers"`. En una máquina lo inicia `arset fields train DATA RUN --workers N`, y en un clúster, el modo de barrera de Spark; consulta las [preguntas](../../book/es/faq.md).
# - **¿… el límite sigue siendo la decodificación?** Usa imágenes más pequeñas, más núcleos, `cache=True`, o `encoding="raw"` al convertir. Así no hay decodificación en las épocas siguientes, pero hay más bytes en la memoria o en el disco.
# - **¿… tengo cien recortes?** Entonces la memoria no es un problema. Usa pesos de otro lugar, aumenta los datos y divide por parcela.
