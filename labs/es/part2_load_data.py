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

# %% [markdown] made_from="e1d56458"
# # Práctica 2 · De la tabla de píxeles a los lotes
#
# :::{admonition} De un vistazo
# :class: lab-header
# **Pregunta.** ¿Cómo se hacen lotes para un modelo a partir de series irregulares, guardadas como cadenas de bytes? La carga debe ser rápida, y la puntuación, fiable.
#
# **Producto.** Un *cargador de datos*: toma ventanas al azar, pone las imágenes en un calendario regular, normaliza, etiqueta y forma lotes (*batches*). La práctica 3 entrena un modelo con él.
#
# **Al terminar sabrás**
# - nombrar los pasos de una canalización de entrada y explicar su orden;
# - convertir cadenas de bytes en arreglos, y fechas irregulares en intervalos regulares;
# - decir qué significa el número de un intervalo vacío, y por qué las estadísticas se calculan primero;
# - deducir «Sin cultivo en pie» de las clases de escena, y cambiar la leyenda por la tuya;
# - dividir por año y por bloque, y mostrar qué falla en una división al azar;
# - medir qué cambio hace más rápido un cargador, y si el entrenamiento tiene que esperarlo.
#
# **Tiempo.** Unos 110 minutos, con una pausa después de la sección 8. **Necesitas** Python, y la práctica 1 o saber qué contiene su tabla de píxeles. TensorFlow se explica donde se usa.
# :::
#
# Cada actividad tiene cuatro partes, como en la práctica 1. *Predice*: responde la pregunta antes de ejecutar la celda. *Ejecuta* la celda. *Lee* la explicación. *Comprueba*: un `assert` verifica lo que dice la explicación.

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

# %% [markdown] made_from="af87f42a"
# ## 1. Toma la tabla de la práctica 1
#
# Si la práctica 1 ya se ejecutó en esta máquina, la celda lee su tabla. Si no, la celda hace la misma tabla sin Spark; tarda unos minutos, una sola vez.
#
# :::{admonition} Datos simulados
# :class: simulated
# Si no cambias la línea, los datos no vienen de un satélite: son el delta simulado de la práctica 1. Sus figuras dicen *simulado*. Los tiempos son reales: son los de tu máquina.
# :::

# %% made_from="d50b678c"
import numpy as np
import pandas as pd

from arsetlib import lab

source = "simulated"  # o "real", o tu archivo de estudio, "mine.toml"
here = lab.place(source)
sample = source == "simulated"  # algunos assert solo valen para la muestra
study, table = here.study, here.table()
print(here)
print(f"{table.num_rows:,} filas")
assert set(study.years) == set(table["year"].to_pylist())

# %% [markdown] made_from="95acf295"
# ## 2. El orden de una canalización
#
# Un cargador es una cadena de pasos pequeños. En `tf.data` cada paso es una llamada. Los pasos son *perezosos* (*lazy*): no se calcula nada hasta que se pide un lote.
#
# | paso | qué hace | por qué aquí |
# |---|---|---|
# | listar archivos | encuentra los archivos de la tabla | mezclar el orden de los archivos no cuesta nada |
# | leer | filas, todavía como cadenas de bytes | una tras otra, si la tabla es mayor que la memoria |
# | `filter` | deja fuera las filas que no tienen una única respuesta correcta | así no se gasta trabajo en ellas |
# | `shuffle` | mezcla filas en un búfer | las filas en bytes ocupan menos que las decodificadas, y hay que mezclarlas *antes* de formar los lotes |
# | `map(parse)` | bytes → ventana → números y etiqueta | es el paso con más trabajo; usa el azar, así que va después de cualquier caché |
# | `batch` | apila muestras | un modelo calcula muchas muestras a la vez |
# | `prefetch` | prepara el siguiente lote mientras el modelo calcula | al final, para que abarque todos los pasos anteriores |
#
# Primero, las filas como cadenas de TensorFlow. Una fila tiene el código de su etiqueta, el primer día de su año, tres cadenas de bytes y su área.

# %% made_from="5b343ae7"
import tensorflow as tf

from arsetlib import pixels

years = table["year"].to_numpy()
strings = ("day", "scl", "bands", "area")
columns = {s: np.array(table[s].to_pylist(), object) for s in strings}
columns["code"] = table["label_code"].to_numpy()
first_of_year = (years - 1970).astype("M8[Y]").astype("M8[D]")
columns["new_year"] = first_of_year.astype("i4")  # días desde 1970-01-01

# %% made_from="a74fc5ca"
print(f"se leen {len(pixels.files(here.table_path))} archivos")
rows = tf.data.Dataset.from_tensor_slices(columns)
one = next(iter(rows))
print({name: str(value.dtype.name) for name, value in one.items()})
print(f"las bandas de la primera fila: {len(one['bands'].numpy())} bytes")
assert len(rows) == table.num_rows

# %% [markdown] made_from="eca2de6d"
# :::{admonition} Predice
# :class: predict
# Es fácil confundir el orden de dos pares de pasos. ¿Qué sale mal si `filter` va después de `map`? ¿Y si `shuffle` va después de `batch`?
# :::

# %% made_from="f172411d"
parsed = tf.Variable(0, dtype=tf.int64)


def costly(row):
    parsed.assign_add(1)  # cuenta cuántas veces se ejecuta este paso
    return row


def has_one_crop(row):  # un doble cultivo tiene dos respuestas
    return ~tf.reduce_any(row["code"] == np.array(study.legend.excluded, "i2"))


# %% made_from="73424f23"
orders = {
    "filter, después map": rows.filter(has_one_crop).map(costly),
    "map, después filter": rows.map(costly).filter(has_one_crop),
}
calls = {}
for order, dataset in orders.items():
    parsed.assign(0)
    kept = sum(1 for _ in dataset)
    calls[order] = int(parsed.numpy())
    print(f"{order}: {calls[order]:,} filas decodificadas, {kept:,} quedan")

assert calls["filter, después map"] <= calls["map, después filter"]

# %% made_from="650fee25"
mixed = rows.shuffle(len(rows), seed=1).batch(64)
neighbours = rows.batch(64).shuffle(10, seed=1)
areas_in = {
    "shuffle, después batch": len(set(next(iter(mixed))["area"].numpy())),
    "batch, después shuffle": len(set(next(iter(neighbours))["area"].numpy())),
}
print("áreas en el primer lote:", areas_in)
assert areas_in["batch, después shuffle"] <= areas_in["shuffle, después batch"]

# %% [markdown] made_from="7bef1ecd"
# Si `filter` va después de `map`, se decodifican filas que luego se dejan fuera: las dos líneas impresas las cuentan. Si `shuffle` va después de `batch`, un lote contiene solo píxeles vecinos, porque la tabla está ordenada por lugar. El modelo vería una parcela tras otra.
# La sección 11 pregunta qué tamaño debe tener el búfer.
#
# ## 3. De bytes a arreglos
#
# `tf.io.decode_raw` lee una cadena de bytes como números del tipo que le indicas. Devuelve todos los números en una sola fila, así que tienes que recuperar la forma del arreglo.
#
# :::{admonition} Predice
# :class: predict
# Una fila tiene 80 imágenes de 12 bandas, y cada valor ocupa 2 bytes. ¿Cuántos bytes tiene la cadena `bands`?
# :::

# %% made_from="a053f804"
C = len(study.bands)


def decode(row):
    """Días (N,), clases de escena (N,) y reflectancia × 10,000 (N, C)."""
    day = tf.io.decode_raw(row["day"], tf.uint16)
    scl = tf.io.decode_raw(row["scl"], tf.uint8)
    bands = tf.io.decode_raw(row["bands"], tf.uint16)
    return day, scl, tf.reshape(bands, [-1, C])


# %% made_from="03d3b1cd"
day, scl, bands = decode(one)
print(f"días {day.shape}, clases de escena {scl.shape}, bandas {bands.shape}")
print(f"bytes: {day.shape[0]} × {C} × 2 = {len(one['bands'].numpy())}")
library = pixels.series(table, 0)
assert all(map(np.array_equal, (day, scl, bands), library))
assert 80 * 12 * 2 == 1920

# %% [markdown] made_from="c2a7dd07"
# La respuesta es imágenes × bandas × 2: para 80 imágenes de 12 bandas, 1,920 bytes. La segunda línea impresa muestra la misma cuenta para nuestra primera fila. Tres líneas de código dan los mismos arreglos que la biblioteca. `decode_raw` toma primero el byte menos significativo; los archivos del curso original necesitan `little_endian=False`.
# El número de imágenes cambia de una fila a otra, así que las filas no se pueden apilar en un lote. La ventana resuelve este problema.
#
# ## 4. La ventana: un calendario regular
#
# Una *ventana* es un período de días seguidos, dividido en *intervalos* iguales (*steps*). Cada imagen pertenece al intervalo de su fecha. Si un intervalo tiene varias imágenes, se toma una de ellas; si no tiene ninguna, queda vacío.
# Los intervalos se cuentan desde el inicio de la ventana, así que el intervalo 3 son los mismos días en todas las muestras.
#
# :::{admonition} Predice
# :class: predict
# Una ventana de 45 días tiene intervalos de 5 días. ¿Cuántos intervalos son? Si hay imágenes en los días 2, 3, 11, 12, 14, 30, 44 y 45, ¿cuántos intervalos quedan vacíos?
# :::


# %% made_from="e690516a"
def window_by_hand(day, bands, start, season, take):
    """x (T, C), 0 donde no se vio nada; qué imagen tomó cada intervalo."""
    x = np.zeros((season.steps, bands.shape[1]), np.float32)
    taken = np.full(season.steps, -1)
    for step in range(season.steps):
        begin = start + step * season.step_days
        end = begin + season.step_days
        images = np.flatnonzero((day >= begin) & (day < end))
        if len(images):
            taken[step] = take(images)
            x[step] = bands[taken[step]]
    return x, taken


def first(images):
    return images[0]


# %% made_from="9538218e"
from arsetlib import figures, maps
from arsetlib.study import Season

toy = Season(window_days=45, step_days=5)
toy_day = np.array([2, 3, 11, 12, 14, 30, 44, 45])
toy_bands = 100 * np.arange(1, 9)[:, None]  # una banda, otra en cada imagen
x, taken = window_by_hand(toy_day, toy_bands, 0, toy, first)

# %% tags=["hide-input"] made_from="4e095c73"
steps = pd.DataFrame(
    {
        "intervalo": range(toy.steps),
        "días": [f"{5 * s} a {5 * s + 4}" for s in range(toy.steps)],
        "día de su imagen": [
            str(toy_day[i]) if i >= 0 else "ninguno" for i in taken
        ],
        "x": x[:, 0],
    }
)
figures.show(
    steps, "Ventana de 45 días en intervalos de 5, con la primera imagen"
)

# %% made_from="53d1fafb"
print(f"{toy.steps} intervalos, {(taken < 0).sum()} de ellos vacíos")
assert toy.steps == 9
assert (taken < 0).sum() == 5
assert 45 not in toy_day[taken[taken >= 0]]  # el 44 es el último

# %% [markdown] made_from="1900be6e"
# La línea impresa es la respuesta. El día 45 queda fuera: la ventana contiene los días 0 a 44.
# Toma ahora una fila de la tabla y una ventana de medio año: 180 días en intervalos de 5. Elegimos un píxel con un número de imágenes lo más cercano posible a 38.

# %% made_from="a81b1b16"
long = Season(window_days=180, step_days=5)
begin = study.season.first_day + 75  # día del año
flat = pixels.ragged(table)
since = flat.day - columns["new_year"][flat.rows] - (begin - 1)
inside = (since >= 0) & (since < long.window_days)
images = np.bincount(flat.rows[inside], minlength=table.num_rows)
row = int(np.abs(images - 38).argmin())

# %% made_from="0e781f1c"
day, scl, bands = pixels.series(table, row)
start = columns["new_year"][row] + begin - 1
x, taken = window_by_hand(day, bands, start, long, first)
red, nir = study.bands.index("red"), study.bands.index("nir")
ndvi = maps.ndvi(bands[:, red], bands[:, nir])
title = (
    f"{images[row]} imágenes, {long.steps} intervalos de {long.step_days} días"
)
fig = figures.calendar(day, ndvi, long, start, taken, study=study, title=title)
figures.show(
    fig, "NDVI de las imágenes de un píxel; abajo, qué intervalos tienen imagen"
)

# %% made_from="906b9e75"
filled = (taken >= 0).sum()
print(f"{filled} intervalos con imagen, {long.steps - filled} vacíos")
print(f"{images[row] - filled} imágenes que no se tomaron")
assert long.steps == 36
assert filled <= min(images[row], long.steps)
if sample:
    assert filled < min(images[row], long.steps)

# %% [markdown] made_from="6923784e"
# En el delta hay más imágenes que intervalos con imagen, y aun así algunos intervalos están vacíos. Las nubes pueden ocultar varias fechas seguidas, y dos imágenes pueden caer en el mismo intervalo. El ejercicio 1 muestra que ningún ancho evita las dos cosas.
# Los intervalos cortos conservan más fechas y tienen más huecos. Los largos tienen menos huecos y mezclan fechas distintas. En cinco días, dos de los satélites juntos pasan por cada lugar al menos una vez.
#
# :::{admonition} Ejercicio 1
# :class: exercise
# Cuenta los intervalos vacíos y las imágenes que no se toman con intervalos de 2, 5, 10, 20 y 30 días en esta ventana. ¿Qué ancho elegirías, y qué perderías?
# :::

# %% tags=["hide-cell"] made_from="d312e1df"
# Solución
tried = []
for width in (2, 5, 10, 20, 30):
    season = Season(window_days=180, step_days=width)
    _, t = window_by_hand(day, bands, start, season, first)
    empty, unused = (t < 0).mean(), 1 - (t >= 0).sum() / images[row]
    tried.append((width, season.steps, 100 * empty, 100 * unused))
names = ["ancho, días", "intervalos", "vacíos, %", "imágenes sin tomar, %"]
figures.show(pd.DataFrame(tried, columns=names), "Cinco anchos del intervalo")

# %% [markdown] made_from="359a6455"
# ### La ventana de la biblioteca
#
# Ya la escribiste tú; a partir de aquí, usa la biblioteca. Da el mismo resultado para todas las filas en una sola llamada.

# %% made_from="6ced95e9"
import time

from arsetlib import samples

starts = samples.start_days(years, begin)
samples.window(flat, long, starts[:1], rows=[0])  # compila, una vez
began = time.perf_counter()
windows = samples.window(flat, long, starts, choose="first")
library_ms = 1000 * (time.perf_counter() - began) / table.num_rows

# %% made_from="44d5e619"
began = time.perf_counter()
window_by_hand(day, bands, start, long, first)
by_hand_ms = 1000 * (time.perf_counter() - began)
print(f"x {windows.x.shape}, seen {windows.seen.shape}")
print(f"a mano {by_hand_ms:.3f} ms por fila, biblioteca {library_ms:.4f} ms")

assert np.array_equal(windows.x[row], x)
assert np.array_equal(windows.seen[row], taken >= 0)

# %% [markdown] made_from="80c47c44"
# ## 5. Sorteos
#
# En el entrenamiento se sortean dos cosas cada vez que se lee una fila: el primer día de la ventana y, donde un intervalo tiene varias imágenes, cuál se toma.
# Así, una fila da muchas muestras. El modelo ve una parcela en todas sus etapas y con huecos muy distintos. Lo mismo encontrará cuando se use a mitad de temporada.
#
# :::{admonition} Predice
# :class: predict
# Un intervalo contiene tres imágenes. En miles de sorteos, ¿con qué frecuencia se toma cada una?
# :::

# %% made_from="011f5b17"
from collections import Counter

rng = np.random.default_rng(study.seed)
step_of = (day.astype(int) - start) // long.step_days
crowded = Counter(step_of[step_of >= 0].tolist()).most_common(1)[0][0]
candidates = np.flatnonzero(step_of == crowded)
draws = Counter(int(rng.choice(candidates)) for _ in range(3000))

# %% made_from="61ed369f"
share = pd.DataFrame(
    {
        "fecha": [str(np.datetime64(int(day[i]), "D")) for i in candidates],
        "al azar, %": [draws[i] / 30 for i in candidates],
        "el original, %": [
            100.0 * (i == first(candidates)) for i in candidates
        ],
    }
)
figures.show(
    share, "Frecuencia de cada imagen del intervalo que tiene más imágenes"
)
assert np.allclose(share["al azar, %"], 100 / len(candidates), atol=5)

# %% [markdown] made_from="95156b41"
# Si la imagen se sortea, cada una se toma con la misma frecuencia. Los cuadernos originales decían «una al azar» y en realidad tomaban siempre la primera: nadie había contado. Un paso aleatorio de un programa necesita una prueba que cuente.
#
# La biblioteca toma ahora cuatro muestras de la misma fila, cada una con otro inicio y otras imágenes:

# %% made_from="744dfcbc"
season = study.season
keys = samples.keys_of(table["pixel"].to_numpy(), years)


def draw(epoch):
    """La ventana de la fila en una época: su inicio y su contenido."""
    key, year = keys[[row]], years[row]
    day = samples.draw_starts(key, season, study.seed, epoch)
    begin = samples.start_days(year, day)
    how = {"seed": study.seed, "epoch": epoch, "keys": key, "rows": [row]}
    return samples.window(flat, season, begin, **how)


# %% made_from="81711b16"
lines = {}
for epoch in range(4):
    w = draw(epoch)
    dates = w.start[0] + season.step_days * np.flatnonzero(w.seen[0])
    values = maps.ndvi(w.x[0, :, red], w.x[0, :, nir])[w.seen[0]]
    name = f"época {epoch}: {w.seen.sum()} intervalos vistos"
    lines[name] = dates.astype("M8[D]"), values + epoch
title, y = "Cuatro ventanas de una fila", "NDVI + número de la época"
fig = figures.lines(lines, title, "fecha", y, study=study)
figures.show(fig, "NDVI de cuatro ventanas tomadas al azar de una fila")

# %% made_from="4e07a70f"
print(
    "inicios, días del año:",
    [int(draw(e).start[0] - columns["new_year"][row] + 1) for e in range(4)],
)
assert np.array_equal(draw(3).x, draw(3).x), (
    "una semilla debe repetir su sorteo"
)
assert not np.array_equal(draw(2).x, draw(3).x)

# %% [markdown] made_from="b7efb7f0"
# ## 6. Los ceros y la media
#
# Un modelo necesita bandas de entrada con rangos parecidos, así que cada banda se *normaliza*: `(x − media) / desviación estándar`. Además, los intervalos vacíos deben contener algún número. El orden de las dos operaciones importa.
#
# :::{admonition} Predice
# :class: predict
# Los intervalos vacíos contienen 0. Calculas la media de cada banda con todas las ventanas, ceros incluidos. ¿Es demasiado alta o demasiado baja? Y si dejas fuera los ceros, ¿qué significa un 0 después de normalizar?
# :::

# %% made_from="ac59fc3a"
several = len(study.years) > 2  # un año para cada uno de los tres conjuntos
by = "year and block" if several else "block"
sides = samples.split(table, study, by=by)  # véase la sección 9
train = sides["train"]
values = pixels.ragged(train.read()).bands.astype(float)  # (N, C)
values[values == 0] = np.nan  # «sin datos» no es un valor
mean, std = np.nanmean(values, axis=0), np.nanstd(values, axis=0)

scaler = samples.Scaler.fit(train)
print(f"ajustado con {len(train):,} filas de entrenamiento")
assert np.allclose(scaler.mean, mean)
assert np.allclose(scaler.std, std)

# %% made_from="75c99afc"
which = {"rows": train.index}
raw = samples.window(flat, season, starts[train.index], **which)
drawn = samples.window(
    flat, season, starts[train.index], scaler=scaler, **which
)
with_zeros = raw.x.mean((0, 1))

# %% tags=["hide-input"] made_from="237c31e4"
compared = pd.DataFrame(
    {
        "banda": study.bands,
        "media de lo visto": mean,
        "media con los vacíos como 0": with_zeros,
        "desviación estándar": std,
    }
)
figures.show(
    compared,
    "Estadísticas de las filas de entrenamiento, reflectancia × 10,000",
)

# %% made_from="98901d2d"
print(f"{1 - drawn.seen.mean():.0%} de los intervalos están vacíos")
assert (with_zeros < mean).all()
assert (drawn.x[~drawn.seen] == 0).all()

# %% [markdown] made_from="ae077263"
# Si se cuentan los intervalos vacíos, todas las medias son demasiado bajas. Por eso, calcula primero las estadísticas, solo con los valores vistos. Después escala, y deja los intervalos vacíos en 0.
# Después de escalar, 0 es igual a la media, así que no añade sesgo. Esto responde una pregunta frecuente: los ceros no cambian la media, porque se ponen después de calcularla.
# Usa solo filas de *entrenamiento* para las estadísticas. Con filas de prueba habría una fuga de información (*leakage*), aunque pequeña.
#
# La siguiente figura muestra cada banda antes y después. Una caja contiene la mitad central de los valores; sus bigotes muestran los percentiles 5 y 95.

# %% made_from="f856329a"
scaled = scaler.transform(np.nan_to_num(values))
panels = {
    "antes: reflectancia × 10,000": values,
    "después: sin unidad": scaled,
}
title = "Valores de cada banda antes y después de normalizar"
fig = figures.spreads(panels, study.bands, study=study, title=title)
figures.show(fig, title)
if sample:
    assert mean[nir] > 1.5 * mean[red]

# %% made_from="0c76701e"
valid = ~np.isnan(values).any(axis=1)
print("medias después:", scaled[valid].mean(axis=0, dtype=float).round(2))
assert np.allclose(scaled[valid].mean(axis=0, dtype=float), 0, atol=1e-2)
assert np.allclose(scaled[valid].std(axis=0, dtype=float), 1, atol=1e-2)

assert np.allclose(scaler.inverse(scaled[valid]), values[valid], atol=1)

scaler.save(here.work / "scaler.json")
assert samples.Scaler.load(here.work / "scaler.json") == scaler

# %% [markdown] made_from="fb117c5a"
# Antes de escalar, los valores del infrarrojo cercano del delta son mayores que los de las bandas visibles y dominarían. Después de escalar, todas las bandas tienen media 0 y desviación estándar 1. No se pierde información: `scaler.inverse` devuelve los valores de antes.
# Guarda el escalador junto con el modelo, porque las escenas nuevas se deben escalar con los mismos números.
#
# ### Otros valores de relleno
#
# Cero es el número más simple para un intervalo vacío. La biblioteca también puede tomar el último valor visto, o trazar una línea entre los valores anterior y posterior. Donde un intervalo tiene varias imágenes, puede tomar su mediana en lugar de una sola imagen.
#
# :::{admonition} Predice
# :class: predict
# ¿Para cuál de estos rellenos necesitas una imagen tomada *después* del intervalo vacío?
# :::

# %% made_from="93543123"
ways = {
    "ceros": {"choose": "first"},
    "último": {"choose": "first", "fill": "last"},
    "lineal": {"choose": "first", "fill": "linear"},
    "mediana del intervalo": {"choose": "median"},
}
more = {"rows": [row], "scaler": scaler}
w = {
    name: samples.window(flat, season, starts[row], **more, **how)
    for name, how in ways.items()
}

# %% made_from="d1cb8ad2"
step = np.arange(season.steps)
seen = w["ceros"].seen[0]
curves = {name: (step, one.x[0, :, nir]) for name, one in w.items()}
points = {"visto": (step[seen], w["ceros"].x[0, seen, nir])}
x, y = f"intervalo de {season.step_days} días", "infrarrojo cercano, escalado"
title = "Una ventana con cuatro rellenos"
fig = figures.lines(curves, title, x, y, study=study, points=points)
figures.show(
    fig, "Infrarrojo cercano escalado de una ventana con cuatro rellenos"
)

# %% made_from="d3911376"
print(f"{seen.sum()} intervalos vistos, con cada relleno")
for one in w.values():
    assert np.array_equal(one.seen[0], seen), "rellenado no es visto"
for name in ("último", "lineal"):
    assert np.array_equal(w[name].x[0, seen], w["ceros"].x[0, seen])
assert (w["ceros"].x[0, ~seen] == 0).all()

# %% [markdown] made_from="36dc1404"
# La respuesta es el relleno lineal: necesita la imagen *siguiente*. Dentro de una ventana está permitido, porque al momento de predecir toda la ventana ya pasó. Las tres primeras formas coinciden donde se vio algo. La mediana combina todas las imágenes de un intervalo, así que puede ser distinta. En los intervalos vacíos, «ceros» significa la media, «último» es el valor anterior y «lineal» es un valor entre dos imágenes.
# Con cualquier relleno, `seen` dice qué intervalos tenían una imagen. Puedes dar `seen` al modelo, para que sepa qué intervalos se rellenaron.
#
# :::{admonition} Ejercicio 2
# :class: exercise
# Ajusta también un escalador a las filas de *prueba* y compara. ¿En cuántas desviaciones estándar difiere la media de cada banda entre entrenamiento y prueba? ¿Qué significaría una diferencia de una desviación estándar entera?
# :::

# %% tags=["hide-cell"] made_from="27b41e9a"
# Solución
other = samples.Scaler.fit(sides["test"])
moved = (np.array(other.mean) - mean) / std
print(pd.Series(moved.round(2), study.bands).to_string())
# Una entera: cambió el sensor, el procesamiento o la temporada, y el modelo
# recibe valores que no vio al entrenar. Revisa primero los datos.

# %% [markdown] made_from="d198cf55"
# ## 7. Cuando no crece nada
#
# Una etiqueta dice qué cultivo creció en un píxel en un año. Antes de la siembra la parcela está desnuda, y ningún modelo puede ver qué crecerá en ella. Por eso la clase depende de la *ventana*.
# Un cultivo conserva su clase si al menos una de las dos últimas imágenes de la ventana muestra vegetación (SCL 4). Si no, la clase de la muestra es «Sin cultivo en pie» (*No Crops Growing*).
# La regla es solo para cultivos: un bosque o una ciudad tienen la misma clase todo el año.
#
# :::{admonition} Predice
# :class: predict
# ¿Por qué la regla usa dos imágenes y no solo la última? ¿Y qué dice mientras las plántulas son todavía pequeñas?
# :::


# %% made_from="1d38e37e"
from arsetlib import sentinel2


def grows(day, scl, start, season):
    """¿Es vegetación una de las dos últimas imágenes de la ventana?"""
    inside = (day >= start) & (day < start + season.window_days)
    return bool((scl[inside][-2:] == sentinel2.VEGETATION).any())


# %% made_from="84d2acf6"
legend = study.legend
classes = legend.classes_of(table["label_code"].to_numpy())
grown = np.array([c.crop for c in legend.classes])[classes] & (classes >= 0)
count = np.where(grown, np.diff(flat.offsets), 0)
field = int(count.argmax())  # el píxel de cultivo con más imágenes
print(f"un píxel de {legend.names()[classes[field]]}, {count[field]} imágenes")
assert grown[field]

# %% made_from="8d9f96fe"
day, scl, bands = pixels.series(table, field)
ends = columns["new_year"][field] + np.arange(40, 340, 5)
starts_of = ends - season.window_days + 1  # su último día es su final
many = np.full(len(ends), field)
w = samples.window(flat, season, starts_of, rows=many, choose="first")
by_hand = [grows(day, scl, s, season) for s in starts_of]
print(f"{sum(by_hand)} de {len(ends)} ventanas terminan con vegetación")
assert np.array_equal(by_hand, w.vegetation)

# %% made_from="3ceccca4"
named = samples.apply_vegetation_rule(classes[many], w.vegetation, legend)
fig = figures.verdicts(day, scl, bands, ends, named, study=study)
figures.show(
    fig,
    "NDVI según la clase de escena, y la clase de una ventana según su último día",
)
assert classes[field] in named

# %% [markdown] made_from="115070f9"
# La barra debajo de los puntos muestra la clase de una ventana según su *último* día. Durante la temporada la clase es la etiqueta; antes y después es casi siempre «Sin cultivo en pie». Hay excepciones: las malezas también son vegetación en la SCL, y un cultivo a la sombra no lo es.
# Con dos imágenes la regla es robusta: una sola imagen con una clase SCL equivocada no termina la temporada. Mientras las plántulas son pequeñas, la regla dice «Sin cultivo en pie», porque la SCL no las muestra como vegetación. Lo dice otra vez cuando las hojas se vuelven amarillas. La regla es una convención y la puntuación depende de ella, así que hay que declararla.
#
# ## 8. Clases
#
# La etiqueta sigue siendo un código. La *leyenda* agrupa los códigos en clases. La codificación *one-hot* convierte una clase en un vector con un solo 1, para que se pueda comparar con la salida de un modelo.
#
# :::{admonition} Predice
# :class: predict
# Algunas diapositivas del curso original dicen «seis clases». Cuenta las clases de la tabla de abajo. ¿Qué clase no tiene ningún código, y cómo puede tener muestras?
# :::

# %% made_from="788bdae1"
K = len(legend.classes)
BARE = next((k for k, c in enumerate(legend.classes) if not c.codes), None)
one_hot = np.eye(K, dtype=np.float32)  # la fila k es el vector de la clase k
print(f"clase {K - 1}, {legend.names()[-1]}, como vector: {one_hot[K - 1]}")

# %% tags=["hide-input"] made_from="26e8a06c"
listed = pd.DataFrame(
    {
        "clase": legend.names(),
        "códigos": [
            "otros" if c.codes == "others" else str(len(c.codes))
            for c in legend.classes
        ],
        "filas por etiqueta": [int((classes == k).sum()) for k in range(K)],
        "one-hot": [" ".join(f"{v:.0f}" for v in r) for r in one_hot],
    }
)
figures.show(
    listed, "La leyenda: clases, número de códigos y vector de cada una"
)

# %% made_from="706cc666"
some = classes[classes >= 0][:50]
print(f"{K} clases; fuera, por doble cultivo: {(classes < 0).sum()} filas")
assert np.array_equal(tf.one_hot(some, K), one_hot[some])
assert (legend.classes_of(list(legend.excluded)) == -1).all()
if sample:
    assert (K, legend.keys[BARE]) == (7, "no_crops_growing")

# %% [markdown] made_from="e2032db0"
# La leyenda del curso tiene siete clases. «Sin cultivo en pie» no tiene ningún código: sus muestras vienen de la regla de la sección 7. El *orden* de las clases también es una convención: las diapositivas y el código del original usan dos órdenes distintos. La salida número 3 de un modelo no significa nada sin su leyenda, así que guárdalas juntas.
# Los códigos se comparan como números. Cada código debe estar en una clase o quedar fuera a propósito; un código desconocido es un error. Así, la cebada ya no se puede contar por error como «No cultivado». En el original, la última clase contenía todos los códigos que no estaban en ninguna lista.
#
# :::{admonition} Ejercicio 3
# :class: exercise
# Un cliente hace una sola pregunta: ¿es esta clase o no? Toma la última clase de la leyenda que enumera sus códigos. Haz una leyenda de tres clases: «Sin cultivo en pie», esta clase y «Todo lo demás». Cuenta sus filas. `codes="others"` toma todos los códigos que no tiene ninguna otra clase.
# :::

# %% tags=["hide-cell"] made_from="ba9fce89"
# Solución
from dataclasses import replace

from arsetlib.study import Class

bare = [c for c in legend.classes if not c.codes]
wanted = [c for c in legend.classes if c.codes and c.codes != "others"][-1]
rest = Class("rest", {"es": "Todo lo demás"}, "#93cc93", "others", crop=False)
mine = replace(legend, name="una o no", classes=(*bare, wanted, rest))
counts = Counter(mine.classes_of(table["label_code"].to_numpy()).tolist())
print({[*mine.names(), "fuera"][k]: n for k, n in sorted(counts.items())})
# La regla de vegetación no cambia una clase con `crop=False`. ¿Debe contar el
# suelo desnudo antes de la siembra como «Todo lo demás»? Aquí puede ser así.

# %% [markdown] made_from="f9de7320"
# ### Equilibrio entre clases
#
# :::{admonition} Predice
# :class: predict
# El primer día de cada ventana se sortea en todo el rango del estudio. ¿Qué clase pasa a ser la mayor en el entrenamiento?
# :::


# %% made_from="85efa84e"
def shares(rows, rule):
    """Porcentaje de cada clase, con ventanas al azar."""
    day = samples.draw_starts(keys[rows.index], season, study.seed)
    begin = samples.start_days(years[rows.index], day)
    w = samples.window(flat, season, begin, rows=rows.index)
    k = classes[rows.index]
    if rule:
        k = samples.apply_vegetation_rule(k, w.vegetation, legend)
    return 100 * np.bincount(k[k >= 0], minlength=K) / (k >= 0).sum()


# %% made_from="06cd7f99"
balance = {"entrenamiento, solo etiquetas": shares(train, rule=False)}
balance |= {side: shares(rows, rule=True) for side, rows in sides.items()}
balance = pd.DataFrame(balance, index=legend.names()).T
look = {"colours": legend.colours, "text": ".0f", "study": study}
title = "Proporción de cada clase en cada conjunto"
fig = figures.bars(balance, title, "porcentaje de muestras", **look)
figures.show(
    fig, "Proporción de cada clase en entrenamiento, validación y prueba"
)

# %% made_from="a23dc663"
print(f"la mayor en el entrenamiento: {balance.loc['train'].idxmax()}")
assert np.allclose(balance.sum(axis=1), 100)
grows_less = (
    balance.loc["train"] <= balance.loc["entrenamiento, solo etiquetas"] + 1e-9
)
assert grows_less[[c.crop and bool(c.codes) for c in legend.classes]].all()

# %% [markdown] made_from="180c931f"
# La línea impresa es la respuesta. La regla pasa muestras de los cultivos a la clase «Sin cultivo en pie». Un modelo que predice siempre la clase mayor acierta en todas las muestras de esa clase, así que la exactitud por sí sola dice poco.
# Puedes dar pesos a las muestras, para que cada clase cuente lo mismo en la pérdida; `samples.batches` puede dar esos pesos. O puedes usar una puntuación para cada clase, como hace la práctica 3.
#
# :::{admonition} Un buen momento para una pausa
# :class: tip
# Aquí termina la primera mitad. Después de la pausa, ejecuta otra vez las celdas desde el principio; la tabla se conserva.
# :::
#
# ## 9. La división, y qué falla si es al azar
#
# Un modelo se prueba con filas que no ha visto. Pero dos píxeles de una misma parcela son casi iguales, y un píxel puede ser parecido en dos años. Si las filas se reparten al azar, la mayoría de las filas de prueba tienen un vecino en el entrenamiento.
# `samples.split` divide por año (el archivo de estudio da los años de cada conjunto) *y* por bloque: cuadrados de terreno que no se separan. Si el estudio es de uno o dos años, esta práctica divide solo por bloque.

# %% made_from="fe2c0fd6"
fig = figures.split_map(sides, study=study)
figures.show(
    fig,
    "Dónde están las filas de entrenamiento, validación y prueba; norte arriba",
)

# %% made_from="cc87dfce"
for pair, common in samples.shared(sides).items():
    print(pair, {noun: len(found) for noun, found in common.items()})
    assert len(common["block"]) == len(common["pixel"]) == 0
    assert len(common["year"]) == 0 or not several

# %% [markdown] made_from="766dde47"
# No se comparte ningún bloque ni ningún píxel y, con tres años, tampoco ningún año. Un bloque se usa solo en el año de su conjunto. Sus filas de los otros años no están en ningún conjunto: es el costo de una prueba sin fugas de información.
#
# Cuando se usa, un modelo predice un año que no ha visto, y la división imita esa situación. Supone que el entrenamiento y la prueba podrían intercambiar sus años. El ejercicio 4 lo comprueba.
#
# :::{admonition} Predice
# :class: predict
# Entrena una red pequeña con el mismo número de filas, una vez con cada división: al azar, por año, por año y bloque. ¿Cuál obtiene la mejor puntuación en su propia prueba? ¿Qué puntuación prometerías a un cliente?
# :::

# %% made_from="5991e2eb"
import keras


def network():
    keras.utils.set_random_seed(study.seed)
    layers = [
        keras.layers.Conv1D(32, 5, activation="relu"),  # (B, 20, 32)
        keras.layers.Conv1D(32, 5, activation="relu"),  # (B, 16, 32)
        keras.layers.MaxPooling1D(2),  # (B, 8, 32)
        keras.layers.Flatten(),  # (B, 256)
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(K, activation="softmax"),  # (B, 7)
    ]
    model = keras.Sequential(layers)
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=["accuracy"])
    return model


# %% made_from="98601194"
middle = samples.start_days(years, season.first_day + 120)  # igual para todas


def windows_of(rows, scaler, most=None):
    """Ventanas x y clases y de un número máximo de filas."""
    i = rows.index[classes[rows.index] >= 0]
    i = np.random.default_rng(study.seed).permutation(i)[:most]
    how = {"rows": i, "scaler": scaler, "choose": "first"}
    return samples.window(flat, season, middle[i], **how).x, classes[i].astype(
        int
    )


def score(sides, rows):
    """Entrena con ese número de filas; devuelve la exactitud en la prueba."""
    scaler = samples.Scaler.fit(sides["train"])
    model, epochs = network(), 3 if here.small else 15
    x, y = windows_of(sides["train"], scaler, rows)
    model.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
    return model.evaluate(*windows_of(sides["test"], scaler), verbose=0)[1]


# %% made_from="f516db01"
import warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    divided = {"al azar": samples.random_split(table, seed=study.seed)}
    if several:
        divided["by=year"] = samples.split(table, study, by="year")
    divided[f"by={by}"] = sides
print(next(w.message for w in caught if w.category is samples.LeakWarning))

# %% made_from="0bf02f2e"
equal = min(len(s["train"]) for s in divided.values())
scores = pd.Series({name: score(s, equal) for name, s in divided.items()})
title = "La misma red, probada con divisiones distintas"
fig = figures.bars(100 * scores, title, "exactitud, prueba, %", study=study)
figures.show(
    fig, "Exactitud de la misma red en la prueba, con tres formas de dividir"
)

if sample and not here.small:  # la pequeña tiene pocas filas de prueba
    assert scores["al azar"] > scores["by=year and block"] + 0.03

# %% [markdown] made_from="a0e5eee5"
# En el delta, la división al azar obtiene la mejor puntuación. No debes prometerla, porque no se puede repetir con datos nuevos. Promete la puntuación por año y bloque: sus filas de prueba son de otro año y de otro lugar, como lo serán los datos nuevos. La red y el número de filas son los mismos, así que la causa es la división. El entrenamiento no avisa de este error.
# Un modelo puede aprender lo que es propio de estas parcelas y del tiempo atmosférico de este año, y la prueba al azar lo premia. De la primera barra a la de `by=year` ves el efecto del tiempo atmosférico; de ahí a la última barra, el de las parcelas.
#
# :::{admonition} Ejercicio 4
# :class: exercise
# Intercambia los años: entrena con el año de la prueba y prueba con el año del entrenamiento, por año y bloque. `study.replace(split=…)` da un estudio con otros años. ¿Se parecen las dos puntuaciones?
# :::

# %% tags=["hide-cell"] made_from="e4293977"
# Solución
if several:
    old, new = study.split["train"], study.split["test"]
    exchanged = study.replace(split=study.split | {"train": new, "test": old})
    back = score(samples.split(table, exchanged), equal)
    print(f"{old} → {new}: {scores['by=year and block']:.3f}")
    print(f"{new} → {old}: {back:.3f}")
# Dos años son solo dos ejemplos: puedes decir «se parecen» o «no se parecen».
# Para saber más, hacen falta más años.

# %% [markdown] made_from="04265352"
# ## 10. La canalización completa
#
# Combina ahora los pasos, primero a mano: una función hace una muestra a partir de una fila, con operaciones de TensorFlow. Primero, la etiqueta:

# %% made_from="e29a111e"
T = season.steps
codes = np.unique(columns["code"])
class_of = np.full(codes.max() + 1, -1, "i4")  # código → clase
class_of[codes] = legend.classes_of(codes)
crop = tf.constant([c.crop for c in legend.classes])


def label(row, scl, inside):
    """Clase, como vector, después de la regla de vegetación."""
    k = tf.gather(class_of, tf.cast(row["code"], tf.int32))
    last_two = tf.boolean_mask(scl, inside)[-2:]
    bare = tf.gather(crop, k) & ~tf.reduce_any(last_two == sentinel2.VEGETATION)
    return tf.one_hot(k if BARE is None else tf.where(bare, BARE, k), K)


# %% [markdown] made_from="9b17d4af"
# Después, la ventana. `step` es el intervalo de cada imagen, o −1 fuera de la ventana. `order` es un orden de las imágenes, aleatorio en el entrenamiento. Cada intervalo toma la imagen que está primera en este orden.


# %% made_from="3e5106d2"
def take_images(day, first_day, order):
    """La imagen de cada intervalo (T,), y si hay una (T,)."""
    since = tf.cast(day, tf.int32) - first_day
    inside = (since >= 0) & (since < season.window_days)
    step = tf.gather(tf.where(inside, since // season.step_days, -1), order)
    place = tf.math.unsorted_segment_min(tf.range(tf.size(day)), step, T)
    seen = place < tf.size(day)  # vacío: el mayor entero
    return tf.gather(order, tf.where(seen, place, 0)), seen, inside


def parse(row, start=None):
    """Una fila → x (T, C), escalada, e y (K,); sin `start`, inicio al azar."""
    day, scl, bands = decode(row)
    order = tf.range(tf.size(day))
    if start is None:
        order = tf.random.shuffle(order)
        days = season.first_day, season.last_day + 1
        start = tf.random.uniform([], *days, tf.int32)
    image, seen, inside = take_images(day, row["new_year"] + start - 1, order)
    x = tf.cast(tf.gather(bands, image), tf.float32)
    x = tf.where(seen[:, None], (x - scaler.mean) / scaler.std, 0.0)
    return x, label(row, scl, inside)


# %% made_from="d4fd1ce5"
x, y = parse(next(iter(rows)), start=121)
print(f"x {x.shape}, {x.dtype.name}; y {y.numpy().astype(int)}")
assert x.shape == (T, C)
assert tf.reduce_sum(y) == 1

# %% [markdown] made_from="000c4bf8"
# ¿Da lo mismo una sola llamada a la biblioteca? En una prueba no hay azar: el inicio es fijo, y cada intervalo toma su primera imagen.

# %% made_from="93e0f7f9"
BATCH = 256
test = sides["test"]
some = {name: column[test.index] for name, column in columns.items()}
mine = tf.data.Dataset.from_tensor_slices(some).filter(has_one_crop)
mine = mine.map(lambda row: parse(row, start=121)).batch(BATCH)
fixed = {"batch": BATCH, "start": 121, "choose": "first"}
theirs = samples.batches(test, study, scaler, **fixed)

# %% made_from="5f7f28ca"
for (x, y), (lib_x, lib_y) in zip(mine, theirs, strict=True):
    assert np.allclose(x, lib_x, atol=1e-4)
    assert np.array_equal(y, lib_y)
print(f"coinciden {len(theirs)} lotes; el primero: x {x.shape}, y {y.shape}")

for (x, _), (same, _) in zip(theirs, theirs, strict=True):
    assert np.array_equal(x, same), "la prueba se debe repetir igual"

# %% made_from="d4ad86f6"
options = {"batch": BATCH, "seed": 1, "shuffle": False}  # sorteos
one_by_one = samples.row_by_row(train, study, scaler, **options)
at_once = samples.arrays(train, study, scaler, **options)
agree = [
    np.allclose(x, lib_x, atol=1e-4)
    for (x, _), (lib_x, _) in zip(one_by_one, at_once, strict=True)
]
print(f"con sorteos: coinciden {sum(agree)} de {len(agree)} lotes")
assert all(agree), "los sorteos son iguales, pero x no"

# %% [markdown] made_from="59490399"
# Los lotes de prueba hechos a mano y los de la biblioteca son iguales, y se repiten en cada pasada. En el entrenamiento, la biblioteca sortea el inicio y las imágenes con un *hash* de la semilla, la época y el píxel. Por eso una semilla da las mismas muestras con cualquier número de hilos. `samples.row_by_row` es esta canalización dentro de la biblioteca; da los mismos lotes, como comprueba el último `assert`.
#
# ## 11. ¿Qué la hace más rápida?
#
# :::{admonition} Predice
# :class: predict
# Ordena estos cambios según lo que ganan: un `map` en paralelo; `prefetch`; `cache` después de `map`; calcular un lote entero en una llamada en lugar de fila por fila.
# :::

# %% made_from="818133f2"
AUTO = tf.data.AUTOTUNE
some = {name: column[train.index] for name, column in columns.items()}
base = tf.data.Dataset.from_tensor_slices(some).filter(has_one_crop)
base = base.shuffle(10 * BATCH, seed=1)
parallel = base.map(parse, num_parallel_calls=AUTO)
pipelines = {
    "fila por fila": base.map(parse).batch(BATCH),
    "+ map en paralelo": parallel.batch(BATCH),
    "+ prefetch": parallel.batch(BATCH).prefetch(AUTO),
    "caché después de map": parallel.cache().batch(BATCH),
    "lotes enteros (biblioteca)": samples.batches(
        train, study, scaler, batch=BATCH, seed=1
    ),
}


# %% made_from="809a2993"
def rate(dataset):
    """Muestras por segundo en una pasada."""
    began = time.perf_counter()
    count = sum(len(y) for _, y in dataset)
    return count / (time.perf_counter() - began)


for dataset in pipelines.values():
    rate(dataset)  # la primera pasada también construye el grafo
# Se miden por turnos, para que otros programas frenen a todas por igual.
passes = [{n: rate(d) for n, d in pipelines.items()} for _ in range(3)]
rates = pd.DataFrame(passes).median()

# %% made_from="ba70ef92"
fig = figures.bars(rates, "Carga, sin modelo", "muestras por segundo")
figures.show(fig, "Muestras por segundo de cinco canalizaciones sin modelo")
print((rates / rates["fila por fila"]).round(1).to_string())
if not here.small:  # la muestra pequeña es demasiado rápida
    assert rates["lotes enteros (biblioteca)"] > 3 * rates["fila por fila"]

# %% [markdown] made_from="d5cc4cec"
# Los factores impresos son la respuesta para tu máquina. Con lotes enteros la carga es más de tres veces más rápida que fila por fila, como comprueba el `assert`. Fila por fila, cada operación pequeña se debe llamar para cada fila. Compara la barra de `map` en paralelo con la primera: una fila es poco trabajo, y repartir filas entre hilos también lleva tiempo. Aquí `prefetch` puede ganar poco, porque ningún modelo calcula mientras tanto. `cache` después de `map` evita el trabajo en las épocas siguientes, pero su resultado es incorrecto.
#
# Mira ocho filas en dos épocas:

# %% made_from="0913372f"
few = tf.data.Dataset.from_tensor_slices(some).take(8)
tf.random.set_seed(None)
ways = {"tal cual": few.map(parse), "en caché": few.map(parse).cache()}
tf.random.set_seed(1)
ways["con semilla"] = few.map(parse)
repeats = {}
for name, dataset in ways.items():
    epoch_1, epoch_2 = (np.stack([x for x, _ in dataset]) for _ in range(2))
    repeats[name] = np.array_equal(epoch_1, epoch_2)
print("¿la segunda época es como la primera?", repeats)
assert repeats == {"tal cual": False, "en caché": True, "con semilla": True}

# %% [markdown] made_from="4fe96185"
# Una caché después de `map` guarda los primeros sorteos, así que cada época repite la primera. Los pasos aleatorios deben ir *después* de una caché. Una caché de las cadenas de bytes, antes de `map`, es correcta, pero solo evita la lectura.
# La misma línea muestra un error que pocos conocen. Si fijas una semilla global, las operaciones aleatorias de TensorFlow dentro de `map` *también* empiezan de nuevo en cada época. Los sorteos de la biblioteca dependen de la semilla *y* de la época: se pueden repetir, y cambian de una época a otra.
#
# ### ¿Qué tamaño debe tener el búfer de mezcla?
#
# `shuffle` llena un búfer y sortea filas de él. Las filas están ordenadas por área, así que un búfer pequeño mezcla solo vecinos.
#
# :::{admonition} Predice
# :class: predict
# El original usaba un búfer de diez lotes. ¿Basta aquí, y qué cuesta un búfer mayor?
# :::

# %% made_from="2d7d83cd"
ids = tf.data.Dataset.from_tensor_slices(train.column("block"))
sizes = {"ninguno": 1, "un lote": BATCH, "diez lotes": 10 * BATCH}
sizes["todas las filas"] = len(train)
mixed = {}
for name, size in sizes.items():
    drawn = ids.shuffle(size, seed=study.seed).batch(BATCH)
    mixed[name] = len(np.unique(next(iter(drawn))))

# %% made_from="4e577ede"
mixed = pd.Series(mixed, name="bloques")
title = "Bloques en el primer lote según el tamaño del búfer"
fig = figures.bars(mixed, title, "bloques", study=study, text="d")
figures.show(fig, "Bloques en el primer lote con cuatro tamaños del búfer")

# %% made_from="065e18e5"
row_mb = len(next(iter(rows))["bands"].numpy()) / 1e6
megabytes = {name: round(n * row_mb, 1) for name, n in sizes.items()}
print("megabytes en el búfer, aproximadamente:", megabytes)
print(
    f"diez lotes: {10 * BATCH / len(train):.0%} de las filas de entrenamiento"
)
assert mixed["ninguno"] <= mixed["un lote"] <= mixed["todas las filas"]

# %% [markdown] made_from="0c70c48f"
# Compara la barra de diez lotes con la de todas las filas: si están cerca, el búfer es lo bastante grande. La última línea imprime qué proporción de las filas de entrenamiento son los diez lotes. En una tabla cien veces más larga serían una centésima parte de esa proporción, y contendrían solo unas pocas parcelas. Un búfer mayor necesita más memoria: uno para todas las filas las mezcla por completo y contiene la tabla entera. Si no cabe, mezcla dos veces. Primero mezcla el orden de los *archivos* (o de los grupos de filas), que no cuesta nada; después, en un búfer, las filas de unos pocos de ellos. `samples.batches` lo hace así cuando lee por partes.
# `interleave` tiene el mismo fin: lee de varios archivos por turnos. `flat_map` lee un archivo tras otro.
#
# ## 12. ¿El modelo espera al cargador?
#
# Un cargador es lo bastante rápido si el modelo no tiene que esperarlo. El perfilador de TensorFlow mide esto en TensorBoard. Las diapositivas del original muestran su página: un paso dura en promedio 30.1 ms, de los que 25.2 ms (83.9 %) son de entrada. El veredicto es *your program is HIGHLY input-bound*: «tu programa está muy limitado por la entrada» ([fuente](../../book/es/bibliography.md)).
#
# La página necesita el complemento `xprof` y un navegador, que no todas las plataformas tienen. Un cronómetro también responde la pregunta: ¿cuánto espera un paso a su lote, y cuánto calcula? Usamos los límites del perfilador: desde el 5 %, *moderadamente* limitado por la entrada; desde el 20 %, *muy* limitado.
#
# :::{admonition} Predice
# :class: predict
# Supón que una tarjeta gráfica (GPU) necesita para el modelo la décima parte del tiempo. ¿Qué pasa con la proporción de espera?
# :::


# %% made_from="0d3f3591"
def step_times(dataset, steps=12 if here.small else 40):
    """Mediana de los ms que un paso espera su lote, y que calcula."""
    model, times = network(), []
    batches = iter(dataset.repeat())
    for _ in range(steps):
        began = time.perf_counter()
        x, y = next(batches)
        got = time.perf_counter()
        model.train_on_batch(x, tf.argmax(y, 1))
        times.append((got - began, time.perf_counter() - got))
    return 1000 * np.median(times[5:], axis=0)  # los primeros construyen grafos


def verdict(wait, work):
    share = wait / (wait + work)
    words = "muy" if share >= 0.20 else "moderadamente"
    return (
        f"{words if share >= 0.05 else 'no'} limitado por la entrada "
        f"({share:.0%})"
    )


# %% made_from="5924b74f"
timed = {n: d for n, d in pipelines.items() if n != "caché después de map"}
ms = pd.DataFrame(
    {name: step_times(dataset) for name, dataset in timed.items()},
    index=["espera la entrada", "calcula"],
).T
fig = figures.bars(ms, "Tiempo de un paso de entrenamiento", "ms", text=".1f")
figures.show(
    fig, "Milisegundos de espera y de cálculo, en cuatro canalizaciones"
)

# %% made_from="8f5bb5a8"
for name, row_ms in ms.iterrows():
    print(f"{name}: {verdict(*row_ms)}")
waits = ms["espera la entrada"] / ms.sum(axis=1)
assert verdict(25.2, 30.1 - 25.2).startswith("muy")
if not here.small:  # la muestra pequeña es demasiado rápida
    assert waits["lotes enteros (biblioteca)"] < waits["fila por fila"]

# %% made_from="7fd479a5"
on_gpu = ms["espera la entrada"] / (
    ms["espera la entrada"] + ms["calcula"] / 10
)
print("porcentaje de espera, con un modelo diez veces más rápido:")
print((100 * on_gpu).round(0).to_string())
assert (on_gpu >= waits).all()

# %% made_from="ab45d982"
step_ms = ms.sum(axis=1)
whole = "lotes enteros (biblioteca)"
loading = rates[whole] / rates["fila por fila"]
training = step_ms["fila por fila"] / step_ms[whole]
print(f"lotes enteros, carga: {loading:.1f} × la velocidad de fila por fila")
print(f"lotes enteros, al entrenar: {training:.1f} × la de fila por fila")
if not here.small:
    assert training < loading

# %% [markdown] made_from="cdb74020"
# La lista de porcentajes responde la pregunta: con un dispositivo más rápido solo se acorta el tiempo de cálculo, así que la proporción de espera crece. Un cargador que hoy es apenas lo bastante rápido limita el entrenamiento en un dispositivo más rápido.
# `prefetch` carga mientras el modelo calcula. Para eso hace falta un núcleo libre; si no lo hay, los dos usan los mismos núcleos. Mejora primero la parte más larga y mide otra vez.
#
# Las dos últimas líneas muestran un límite: el entrenamiento gana mucho menos que la carga, porque el modelo necesita su tiempo con cualquier cargador. Con dos núcleos, el modelo pronto es el límite. Lo medimos con la red convolucional (CNN) del original. Con lotes enteros, el entrenamiento tuvo entre una y dos veces la velocidad de fila por fila, aunque el cargador por sí solo fue más de cincuenta veces más rápido ([medido](../../book/es/performance.md)). Un cargador rápido ahorra más tiempo con un modelo pequeño o en una GPU.
#
# Junto a una GPU, ni ocho núcleos bastan para una red pequeña. Allí la propia GPU puede calcular las ventanas: `samples.Loader(…, place="device")` le envía una sola vez las columnas de la tabla y forma los mismos lotes a partir de los números de fila y la semilla. `training.fit` lo hace así cuando encuentra una GPU.
#
# :::{admonition} Ejercicio 5
# :class: exercise
# Supón que una GPU calcula diez veces más rápido y que la carga no cambia. Calcula otra vez los veredictos. ¿Cuántas muestras por segundo debe dar un cargador para un paso de 1 ms con un lote de 1,024?
# :::

# %% tags=["hide-cell"] made_from="bf3a40a3"
# Solución. Esto es sin `prefetch`: la espera y el cálculo se suman. Con él
# se superponen, y un paso dura lo que dura el más largo de los dos.
for name, row_ms in ms.iterrows():
    print(f"{name}: {verdict(row_ms.iloc[0], row_ms.iloc[1] / 10)}")
print(f"hacen falta {1024 / 0.001:,.0f} muestras por segundo")

# %% [markdown] made_from="e76bc655"
# ## 13. Qué enseña el cargador original
#
# Una copia pública de los programas de 2024 tiene defectos que no daban ningún mensaje de error. Cada celda muestra algunos.

# %% made_from="c4d0756e"
# Una imagen en la ventana: `squeeze` quitaba también el eje de las imágenes.
single = np.zeros((1, C))
print("con squeeze:", np.squeeze(single).shape, "esperado:", single.shape)
lonely = int(np.diff(flat.offsets).argmin())  # la fila con menos imágenes
day, _, _ = pixels.series(table, lonely)
w = samples.window(flat, Season(5, 5), int(day[0]), rows=[lonely])
assert np.squeeze(single).shape != single.shape
assert w.x.shape == (1, 1, C)

# %% made_from="91585827"
# Intervalos desde la primera imagen: un hueco al inicio desaparece.
early, late = np.array([0, 5, 10]), np.array([60, 65, 70])
print(
    "desde la primera imagen:", (early - early[0]) // 5, (late - late[0]) // 5
)
print("desde el inicio de la ventana:", early // 5, late // 5)
# Un intervalo de más: el día 120 pertenece a la ventana siguiente.
print(f"120 días: {120 // 5 + 1} intervalos en el original, {120 // 5} aquí")
assert np.array_equal((early - early[0]) // 5, (late - late[0]) // 5)
assert (early // 5 != late // 5).all()
assert Season(120, 5).steps == 24

# %% made_from="51bf1ef0"
# Dobles cultivos en la prueba, cebada entre bosques: nombres, no códigos.
from arsetlib import cdl
from arsetlib.study import Study

delta = Study.load("mississippi_delta").legend  # la leyenda del curso
for code in (26, 227, 229, 21):
    k = int(delta.classes_of(np.array([code]))[0])
    print(f"{code} {cdl.name(code)}: {[*delta.names(), 'fuera'][k]}")
assert delta.classes_of(np.array([26]))[0] == -1
assert delta.keys[delta.classes_of(np.array([21]))[0]] == "cultivated"

# %% [markdown] made_from="d061bd42"
# | defecto | qué causaba | qué lo evita aquí |
# |---|---|---|
# | la imagen «al azar» era siempre la primera | menos muestras distintas de lo esperado, y un sesgo hacia fechas tempranas | una prueba cuenta los sorteos |
# | `squeeze` con una sola imagen | el programa de prueba fallaba en algunos píxeles | las formas se declaran y se verifican |
# | intervalos desde la primera imagen | una temporada tardía parecía temprana | los intervalos cuentan desde el inicio de la ventana |
# | 120 // 5 + 1 intervalos | un intervalo queda fuera de la ventana | `season.steps` |
# | dobles cultivos en la prueba | filas con dos respuestas correctas se puntuaban como si tuvieran una | se excluyen por código, en todos los conjuntos |
# | una clase para todos los demás nombres | la cebada pasaba a «No cultivado» | un código desconocido es un error |
# | un lote de 1,028 donde se quería 1,024 | ningún daño: funciona, y nadie lo notó | no hace falta nada |
#
# En casi todos los casos el programa se ejecutaba sin error. Solo una comprobación de lo que *debería* ser cierto encuentra errores así. Por eso esta práctica tiene tantos `assert`.
#
# ## Lo que has aprendido
#
# - El orden es listar → leer → filtrar → mezclar → `map` → formar lotes → `prefetch`. Filtra pronto, mezcla las filas antes de formar los lotes, pon los pasos aleatorios después de cualquier caché, y `prefetch` al final.
# - Una ventana pone imágenes irregulares en intervalos regulares que cuentan desde su inicio. Con inicios e imágenes al azar, una fila da muchas muestras; un cargador de prueba no usa el azar.
# - Calcula primero las estadísticas, con los valores vistos de las filas de entrenamiento. Así un cero es igual a la media, y `seen` dice qué intervalos tenían una imagen.
# - La clase de una muestra depende de su ventana: la regla de vegetación produce «Sin cultivo en pie».
# - Divide por año y por bloque; si no, la puntuación no es fiable.
# - Los lotes enteros se cargan más rápido que las filas. Un cronómetro muestra si el límite es el cargador o el modelo.
#
# ## ¿Y si…?
#
# - **¿… la tabla es mayor que la memoria?** Da a `samples.batches` la ruta en lugar de la tabla: entonces lee la tabla por partes y mezcla dentro de un búfer.
# - **¿… uso PyTorch o scikit-learn?** `samples.arrays` da los mismos lotes como NumPy, y `samples.sequence` como un `PyDataset` de Keras.
# - **¿… quiero intervalos de 10 días, o 60 días en total?** Cambia `[season]` en el archivo de estudio; la figura de la sección 4 muestra qué ganas y qué pierdes.
# - **¿… no quiero ceros?** Prueba `fill="linear"` o `choose="median"`, y compara las puntuaciones en el conjunto de *validación*; usa el conjunto de prueba una sola vez, al final. Da además `extras=("seen",)`.
# - **¿… mis clases son otras?** Cambia la leyenda. La tabla no cambia, porque contiene códigos.
# - **¿… tengo un solo año?** Divide solo por bloque (`by="block"`), e indica junto a la puntuación que el entrenamiento y la prueba son del mismo año y tuvieron el mismo tiempo atmosférico.
# - **¿… una clase es rara?** Con `extras=("weight",)` cada clase cuenta lo mismo en la pérdida. Pero los pesos no añaden parcelas nuevas.
