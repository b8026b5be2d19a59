# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] made_from="88a1d3a5"
# # Tarea 2 · De la tabla de píxeles a los lotes
#
# Ya hiciste la práctica 2. Aquí escribes, solo con NumPy, las pequeñas funciones de las que se compone un cargador de datos, y las usas con filas propias.
#
# **Ocho preguntas, 28 puntos, más o menos una hora.** Lo que escribes en una pregunta se usa en las siguientes, así que conserva el orden.
#
# Tus números se sortean a partir de tu nombre, que está en la celda siguiente, y por eso son distintos de los de los demás. Escríbelo en lugar de `your name` y no lo cambies después de empezar.
#
# Debajo de cada pregunta, una celda comprueba tu respuesta y dice qué está mal, tantas veces como quieras. Después de la entrega, otras comprobaciones usan otros datos: otra temporada, otro número de bandas, una fila con una sola imagen, una fila sin ninguna.
# Por eso, escribe funciones que sirvan también para los datos de otra persona.

# %% made_from="da414fab"
import numpy as np
import pandas as pd

from arsetlib import cdl, grading, pixels

hw = grading.start("part2", name="your name")

# %% [markdown] made_from="d0c1d4b5"
# Tu tabla de píxeles es parte del delta *simulado*: nada de lo que contiene se midió. La primera ejecución la crea, lo que tarda un minuto.

# %% made_from="7ad08ade"
table, row = hw.table, hw.draw["row"]
label = cdl.name(table["label_code"][row].as_py())
print(f"{table.num_rows} filas; la tuya es la fila {row}, {label}")

# %% [raw] made_from="4771025e"
# # BEGIN QUESTION
# name: q1

# %% [markdown] made_from="7a0bf665"
# ## Pregunta 1 · Cuenta antes de calcular (3 puntos)
#
# Una colega planea un cargador. Estos son sus tamaños:

# %% made_from="11a536b6"
d = hw.draw
print(
    f"filas de entrenamiento: {d['rows']}; de ellas, {d['double_crops']} dobles cultivos, "
    f"que se dejan fuera antes que nada\n"
    f"ventana de {d['window_days']} días, intervalos de {d['step_days']} días\n"
    f"{d['bands']} bandas, {d['classes']} clases (one-hot), "
    f"lotes de {d['batch']}\n"
    f"satélites: {d['satellites']}; órbitas: {d['orbits']}; "
    f"un satélite pasa por una órbita cada 10 días\n"
    f"el {d['cloudy']} % de las pasadas tiene nubes"
)

# %% [markdown] made_from="e61f48a1"
# Asigna a `shapes` un diccionario con seis entradas:
#
# - `"x"`: la forma de un lote (*batch*) completo de ventanas, tres números;
# - `"y"`: la forma de sus etiquetas;
# - `"batches"`: cuántos lotes tiene una época, incluido el último, que no está completo;
# - `"last"`: cuántas filas contiene el último lote;
# - `"passes"`: cuántas veces, en promedio, pasa un satélite sobre un píxel en una ventana;
# - `"clear"`: cuántas imágenes despejadas tiene una ventana, en promedio. Conserva los decimales.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="b107d21f"
# BEGIN SOLUTION
kept, steps = d["rows"] - d["double_crops"], d["window_days"] // d["step_days"]
passes = d["window_days"] / 10 * d["satellites"] * d["orbits"]
full, rest = divmod(kept, d["batch"])
# END SOLUTION
# BEGIN SOLUTION NO PROMPT
shapes = {
    "x": (d["batch"], steps, d["bands"]),
    "y": (d["batch"], d["classes"]),
    "batches": full + 1,
    "last": rest,
    "passes": passes,
    "clear": passes * (1 - d["cloudy"] / 100),
}
# END SOLUTION
""" # BEGIN PROMPT
shapes = {
    "x": None,
    "y": None,
    "batches": None,
    "last": None,
    "passes": None,
    "clear": None,
}
""" # END PROMPT

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="aae3dfa8"
# # BEGIN QUESTION
# name: q2

# %% [markdown] made_from="966b9cce"
# ## Pregunta 2 · De bytes a arreglos (3 puntos)
#
# Escribe `decode(text, bands, little_endian)`. Convierte la cadena de bytes `bands` de una fila otra vez en un arreglo de forma (imágenes, bandas).
#
# - `text`: la cadena de bytes: números de 16 bits sin signo, todas las bandas de la primera imagen, después todas las de la segunda, y así hasta la última;
# - `bands`: cuántas bandas tiene una imagen;
# - `little_endian`: `True` si el byte bajo va primero, como en nuestra tabla; `False` si va primero el byte alto, como en los archivos del curso original.
#
# Devuelve los números como están, sin escalar. Una fila sin imágenes da un arreglo de forma (0, bandas).

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="6f6c5be2"
def decode(text, bands, little_endian):
    # BEGIN SOLUTION
    order = "<u2" if little_endian else ">u2"
    return np.frombuffer(text, order).reshape(-1, bands)
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="668f8d8f"
# Tu fila, decodificada. De aquí en adelante, `bands` es este arreglo y `day` contiene sus fechas, en días desde 1970-01-01:

# %% made_from="c1af4b50"
bands = decode(table["bands"][row].as_py(), 12, little_endian=True)
day, scl, _ = pixels.series(table, row)
day = day.astype(int)  # los enteros sin signo no pueden ser negativos
print("tu fila:", None if bands is None else np.shape(bands))

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="0275c34b"
# # BEGIN QUESTION
# name: q3

# %% [markdown] made_from="90cc694b"
# ## Pregunta 3 · ¿Qué intervalo? (3 puntos)
#
# Escribe `step_of(day, start, window_days, step_days)`. Devuelve el número del intervalo (*step*) en el que cae un día, contado desde 0.
#
# Los intervalos se cuentan desde `start`, el primer día de la ventana. Una ventana de 120 días que empieza el día 100 contiene los días 100 a 219, y ningún otro. Para un día de fuera, anterior o posterior, devuelve -1.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="da3f12ff"
def step_of(day, start, window_days, step_days):
    # BEGIN SOLUTION
    since = day - start
    return since // step_days if 0 <= since < window_days else -1
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="64549be5"
# # BEGIN QUESTION
# name: q4

# %% [markdown] made_from="e1dc886a"
# ## Pregunta 4 · La ventana (5 puntos)
#
# Escribe `window(day, bands, start, window_days, step_days, seed=None)`. Pone las imágenes de una fila sobre un calendario regular y devuelve un par `x, seen`:
#
# - `x`: un arreglo (intervalos, bandas): una imagen de cada intervalo, y 0 donde un intervalo no tiene ninguna;
# - `seen`: un arreglo (intervalos,): `True` donde un intervalo tiene una imagen.
#
# Si varias imágenes caen en un intervalo, toma
#
# - la *primera*, si `seed` es `None`: una prueba debe dar siempre lo mismo;
# - si no, *una al azar*, todas con la misma frecuencia a lo largo de muchas semillas, y con independencia de los demás intervalos. La misma semilla debe dar la misma ventana.
#
# `day` (imágenes,) está en orden ascendente y puede contener días fuera de la ventana; `bands` es (imágenes, bandas). Una fila puede tener una imagen, o ninguna. Usa `step_of`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="927edcb2"
def window(day, bands, start, window_days, step_days, seed=None):
    # BEGIN SOLUTION
    rng = np.random.default_rng(seed)
    steps = [step_of(int(d), start, window_days, step_days) for d in day]
    x = np.zeros((window_days // step_days, bands.shape[1]))
    seen = np.zeros(len(x), bool)
    for step in range(len(x)):
        here = np.flatnonzero(np.equal(steps, step))
        if len(here):
            x[step] = bands[here[0] if seed is None else rng.choice(here)]
            seen[step] = True
    return x, seen
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="08b2a331"
# Tu fila en una ventana de 120 días, a partir de tu día del año:

# %% made_from="eecf0f9f"
row_year = table["year"][row].as_py()
first_of_year = int(np.datetime64(f"{row_year}-01-01").astype(int))
start = first_of_year + d["start_day"] - 1
print("tu ventana:", window(day, bands, start, 120, 5))

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="a6b2aa49"
# # BEGIN QUESTION
# name: q5

# %% [markdown] made_from="7d0875ef"
# ## Pregunta 5 · Primero la estadística (4 puntos)
#
# Escribe `scaled(train, train_seen, x, seen)`. Devuelve `x`, normalizado banda por banda: menos la media, dividido por la desviación estándar (como la da `np.std`).
#
# - `train` (filas, intervalos, bandas) y `train_seen` (filas, intervalos): las ventanas de entrenamiento, de las que se toman la media y la desviación estándar;
# - `x` (muestras, intervalos, bandas) y `seen` (muestras, intervalos): las ventanas que se escalan, de cualquier conjunto.
#
# Los intervalos no vistos contienen 0 en los dos. No deben contar en la media ni en la desviación, y en el resultado deben seguir siendo 0.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="c4e9c49d"
def scaled(train, train_seen, x, seen):
    # BEGIN SOLUTION
    values = train[train_seen]  # (todos los intervalos vistos, bandas)
    out = (x - values.mean(axis=0)) / values.std(axis=0)
    return np.where(seen[..., None], out, 0.0)
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="16cb64fa"
# # BEGIN QUESTION
# name: q6

# %% [markdown] made_from="72f3244e"
# ## Pregunta 6 · Cuando no crece nada (4 puntos)
#
# Escribe `class_in_window(name, day, scl, start, window_days, crops)`: la clase de una fila en una ventana.
#
# - `name`: la clase que tiene su etiqueta en la leyenda, como `"corn"`;
# - `day`, `scl`: las fechas y las clases de escena de sus imágenes, en orden ascendente;
# - `start`, `window_days`: la ventana, como en la pregunta 3;
# - `crops`: los nombres de las clases que son cultivos.
#
# Un cultivo conserva su nombre si al menos una de las *dos últimas imágenes de la ventana* es vegetación (clase de escena 4). Si no, y también si la ventana no tiene ninguna imagen, la clase es `"no_crops_growing"` (sin cultivo en pie). Si la ventana tiene una sola imagen, decide esa. Una clase que no es un cultivo conserva siempre su nombre.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="aaaa4db6"
def class_in_window(name, day, scl, start, window_days, crops):
    # BEGIN SOLUTION
    inside = (day >= start) & (day < start + window_days)
    grows = (scl[inside][-2:] == 4).any()
    return name if grows or name not in crops else "no_crops_growing"
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="b9f6a8b2"
# # BEGIN QUESTION
# name: q7

# %% [markdown] made_from="c5c2eac5"
# ## Pregunta 7 · Cuántas etiquetas tiene un conjunto de entrenamiento (3 puntos)
#
# Divide tu tabla sin fugas de información: tu conjunto de entrenamiento contiene las filas de un año cuyo bloque *no* está apartado.

# %% made_from="99a889dc"
all_blocks = np.unique(table["block"].to_numpy())
held_out = all_blocks[d["held_out"]]
keys = hw.study.legend.keys  # número de clase → nombre
crops = [c.key for c in hw.study.legend.classes if c.crop]
class_numbers = hw.study.legend.classes_of(table["label_code"].to_numpy())
print(f"Entrena con {d['year']}, sin los bloques {held_out.tolist()}")
print(f"Cada ventana: 120 días desde el día {d['start_day']} del año")
print(f"nombres: {keys}, -1 es un doble cultivo")
print(f"cultivos: {crops}")

# %% [markdown] made_from="150077ab"
# ¿Cuántas filas del conjunto de entrenamiento tiene cada clase, si todas las ventanas empiezan en tu día del año? Los dobles cultivos se dejan fuera. Asigna a `counts` un diccionario, nombre de la clase → número de filas. Usa `class_in_window`; `pixels.series(table, i)` da `day`, `scl` y `bands` de la fila `i`, y el día 1 del año es el 1 de enero.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="90dc3d06"
# BEGIN SOLUTION
year, block = table["year"].to_numpy(), table["block"].to_numpy()
mine = (year == d["year"]) & ~np.isin(block, held_out) & (class_numbers >= 0)
new_year = int(np.datetime64(f"{d['year']}-01-01").astype(int))
names = []
for i in np.flatnonzero(mine):
    day_i, scl_i, _ = pixels.series(table, i)
    window_i = day_i.astype(int), scl_i, new_year + d["start_day"] - 1, 120
    names.append(class_in_window(keys[class_numbers[i]], *window_i, crops))
# END SOLUTION
counts = pd.Series(names).value_counts().to_dict()  # SOLUTION
print(counts)

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="0541d875"
# Al final de la temporada, muchas parcelas están desnudas. Un modelo que respondiera siempre con la clase más frecuente acertaría en todas las filas de esa clase.

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="5aedf659"
# # BEGIN QUESTION
# name: q8

# %% [markdown] made_from="b5fc447e"
# ## Pregunta 8 · ¿Espera el modelo al cargador? (3 puntos)

# %% made_from="f2fdf474"
print(
    "Un cargador: filas → `filter` → `shuffle` → `map(parse)`, fila por fila → `batch` → "
    f"modelo. En promedio, un paso de entrenamiento espera {d['wait_ms']} ms su "
    f"lote y trabaja {d['work_ms']} ms. La función `parse` sortea el inicio y las "
    "imágenes. ¿Qué único cambio hace el entrenamiento más rápido, sin empeorarlo?\n"
)
for letter, text in d["changes"].items():
    print(f"{letter}) {text}")
print("\nporque …")
for digit, text in d["change_reasons"].items():
    print(f"{digit}. {text}")

# %% [markdown] made_from="bdd271f1"
# Asigna a `bottleneck` la letra de tu elección y el número de la única razón que la apoya, en esta forma: `bottleneck = ("a", 1)`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="c8df10b5"
# BEGIN SOLUTION
right, why = "Convertir lotes enteros", "Un paso espera su entrada"
letters, digits = d["changes"], d["change_reasons"]
letter = next(key for key, text in letters.items() if text.startswith(right))
digit = next(key for key, text in digits.items() if text.startswith(why))
# END SOLUTION
bottleneck = (letter, digit)  # SOLUTION

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION
