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

# %% [markdown] made_from="c1cf250d"
# # Tarea 1 · De las escenas y las etiquetas a la tabla de píxeles
#
# Ya hiciste la práctica 1. Aquí la aplicas: agrupas códigos de etiqueta en clases, mides la superficie de un recuadro, eliges escenas, buscas huecos y cuentas lo que contiene una tabla.
#
# **Ocho preguntas, 24 puntos, unos 50 minutos.** Lo que escribes en una pregunta se usa en las siguientes, así que conserva el orden.
#
# Tu nombre en la celda siguiente decide *tu* recuadro, tu año y tus números, que por eso son distintos de los de los demás. Escríbelo en lugar de `your name` y no lo cambies después de empezar.
#
# Debajo de cada pregunta, una celda comprueba tu respuesta y dice qué está mal, tantas veces como quieras. Después de la entrega, otras comprobaciones usan otros datos: otra leyenda, otro tamaño de píxel, una lista vacía.
# Por eso, escribe funciones que sirvan también para otros datos.

# %% made_from="7a4e2ff4"
import numpy as np
import pandas as pd

from arsetlib import cdl, grading, maps, pixels
from arsetlib.study import Area

hw = grading.start("part1", name="your name")

# %% [markdown] made_from="7793477e"
# El recuadro se corta del ráster de etiquetas del delta *simulado*: nada de lo que contiene se midió. La primera vez se crean los datos de ejemplo, lo que tarda un minuto.

# %% made_from="187b7132"
year = hw.draw["year"]
my_box = Area("mine", {"en": "My box"}, hw.draw["bounds"], crs="EPSG:5070")
codes, _ = maps.read(hw.study.resolve(f"cdl_{year}.tif"), my_box)
print(f"Tu año es {year}, tu recuadro {my_box.bounds}")
print(f"codes: {codes.shape} códigos de etiqueta, {codes.dtype}")

# %% [raw] made_from="4771025e"
# # BEGIN QUESTION
# name: q1

# %% [markdown] made_from="71025439"
# ## Pregunta 1 · Hectáreas (2 puntos)
#
# Escribe `hectares(codes, code, side_m)`. Devuelve, como número, cuántas hectáreas de un ráster de etiquetas tienen un código.
#
# - `codes`: un arreglo de dos dimensiones con códigos de etiqueta;
# - `code`: el código que se mide;
# - `side_m`: el ancho de un píxel de etiqueta, en m. La *Cropland Data Layer* tiene píxeles de 30 m. Desde 2024 se hace con píxeles de 10 m y se ofrece en los dos tamaños, así que no escribas 30 dentro de la función.
#
# Un código que no está en el ráster tiene 0 hectáreas.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="dfc86901"
def hectares(codes, code, side_m):
    # BEGIN SOLUTION
    pixels = np.count_nonzero(np.asarray(codes) == code)
    return pixels * side_m**2 / 10_000
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="aae3dfa8"
# # BEGIN QUESTION
# name: q2

# %% [markdown] made_from="15119838"
# ## Pregunta 2 · De códigos a clases (4 puntos)
#
# La leyenda de tu estudio agrupa más de cien códigos en unas pocas clases. Aquí está, como dos valores sencillos de Python:

# %% made_from="b2772d40"
classes = {c.key: list(c.codes) for c in hw.study.legend.classes}
excluded = list(hw.study.legend.excluded)  # códigos sin una única respuesta correcta
for name, members in classes.items():
    print(f"{name:<16} {len(members):>3} códigos, p. ej. {members[:5]}")
print("excluidos:", excluded)

# %% [markdown] made_from="631adff2"
# Escribe `class_of(code, classes, excluded)`. Para un código de etiqueta devuelve
#
# - el nombre de la clase que contiene el código, como texto;
# - el texto `"left out"` (dejado fuera) si el código está excluido;
# - y si no está en ninguna clase ni excluido, ninguna respuesta: *lanza un `ValueError`* con el código en su mensaje. El curso original ponía esos códigos en «No cultivado», y así la cebada se contaba con los bosques.
#
# Toma las clases y las exclusiones solo de los argumentos: otro estudio tiene otras.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="d2cb5277"
def class_of(code, classes, excluded):
    # BEGIN SOLUTION
    if code in excluded:
        return "left out"
    for name, members in classes.items():
        if code in members:
            return name
    raise ValueError(f"El código {code} no está en ninguna clase ni está excluido.")
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="0275c34b"
# # BEGIN QUESTION
# name: q3

# %% [markdown] made_from="28f7f019"
# ## Pregunta 3 · Qué hay en tu recuadro (3 puntos)
#
# Haz con `codes`, tu recuadro en tu año, una tabla `land`: un DataFrame de pandas con una fila por cada clase que aparece y las columnas
#
# - `class`: su nombre;
# - `pixels`: cuántos píxeles de etiqueta tiene;
# - `hectares`: su superficie (tus píxeles de etiqueta tienen 30 m de ancho);
# - `percent`: su proporción, de 0 a 100, de todos los píxeles *que tienen una clase*. Los píxeles con un código excluido no cuentan y no tienen fila.
#
# No redondees. El orden de las filas es libre. Usa tus dos funciones.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="cab521be"
# BEGIN SOLUTION
found, numbers = np.unique(codes, return_counts=True)
rows = [
    (class_of(code, classes, excluded), count, hectares(codes, code, 30))
    for code, count in zip(found.tolist(), numbers.tolist(), strict=True)
]
rows = pd.DataFrame(rows, columns=["class", "pixels", "hectares"])
rows = rows[rows["class"] != "left out"]
rows = rows.groupby("class", as_index=False).sum()
# END SOLUTION
land = rows.assign(percent=100 * rows["pixels"] / rows["pixels"].sum())  # SOLUTION
print(land)

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="64549be5"
# # BEGIN QUESTION
# name: q4

# %% [markdown] made_from="5cf37679"
# ## Pregunta 4 · Qué escenas leer (4 puntos)
#
# Un catálogo respondió con la lista de abajo. Cada escena indica su día del año (`day`), su tesela (`tile`), su satélite (`satellite`), su nubosidad en porcentaje (`cloud`) y el número de su procesamiento (`processing`). Si la ESA procesó una imagen otra vez, la lista contiene las dos versiones, y el número mayor es el de la más nueva.

# %% made_from="227777d5"
scenes = hw.draw["scenes"]
print(pd.DataFrame(scenes).to_string(index=False))
print(f"Tu límite de nubosidad: {hw.draw['max_cloud']} %")

# %% [markdown] made_from="40d390c9"
# Escribe `keep_scenes(scenes, max_cloud)`. Recibe una lista así y devuelve la lista de los `id` de las escenas que se leerán:
#
# 1. de cada imagen (un día, una tesela y un satélite), solo el procesamiento más nuevo;
# 2. de estas, las que tienen como máximo `max_cloud` por ciento de nubes.
#
# Conserva este orden de los dos pasos: una versión antigua no debe volver porque su máscara de nubes muestra menos nubes.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="18f75c72"
def keep_scenes(scenes, max_cloud):
    # BEGIN SOLUTION
    newest = {}
    for scene in scenes:
        image = scene["day"], scene["tile"], scene["satellite"]
        held = newest.get(image)
        if held is None or scene["processing"] > held["processing"]:
            newest[image] = scene
    return [s["id"] for s in newest.values() if s["cloud"] <= max_cloud]
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="a6b2aa49"
# # BEGIN QUESTION
# name: q5

# %% [markdown] made_from="da3c7950"
# ## Pregunta 5 · El hueco más largo (3 puntos)
#
# Entre los dos satélites pasan cada cinco días, más o menos, pero las nubes pueden ocultar un píxel durante semanas. Este es un píxel de tu tabla de píxeles:

# %% made_from="b0ea362d"
day, scl, _ = pixels.series(hw.table, hw.draw["row"])
label = cdl.name(hw.table["label_code"][hw.draw["row"]].as_py())
print(f"{label}: {len(day)} imágenes, clases de escena {scl[:12]} …")

# %% [markdown] made_from="c7b1850d"
# Escribe `longest_gap(day, scl, drop)`. Quita las observaciones cuya clase de escena está en `drop`. Devuelve el mayor número de días entre dos observaciones seguidas de las que quedan. Del día 8 al día 13 hay 5 días.
#
# - `day`: días desde 1970-01-01 en orden ascendente, un arreglo;
# - `scl`: la clase de escena de cada uno, un arreglo de la misma longitud;
# - `drop`: una lista de clases de escena, que puede estar vacía.
#
# Si quedan menos de dos observaciones, no hay hueco: devuelve 0.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="b6a0255d"
def longest_gap(day, scl, drop):
    # BEGIN SOLUTION
    left = np.asarray(day).astype(int)[~np.isin(scl, drop)]
    return int(np.diff(left).max(initial=0))
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="010bd087"
# Tu píxel antes y después de quitar también las sombras (3) y los cirros finos (10):

# %% made_from="d993834f"
print("todas las imágenes:", longest_gap(day, scl, []), "días")
print("filtro estricto:", longest_gap(day, scl, [3, 10]), "días")

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="16cb64fa"
# # BEGIN QUESTION
# name: q6

# %% [markdown] made_from="c5852982"
# ## Pregunta 6 · Consulta la tabla (3 puntos)
#
# `hw.table` es una tabla de píxeles como la que hace la práctica 1: una fila por píxel y año, con las clases de escena de sus imágenes en la cadena de bytes `scl`, un byte por imagen. Necesitas un área y un año de ella:

# %% made_from="5cf51c15"
print(f"Tu área es {hw.draw['area']}, tu año {hw.draw['table_year']}")
hw.table.drop(["day", "scl", "bands"]).slice(0, 3).to_pandas()

# %% [markdown] made_from="5266aec2"
# ¿Cuántas *observaciones* (un píxel en una fecha) de cada clase de escena hay en las filas de tu área y tu año? Asigna a `scl_counts` un diccionario, clase de escena → número de observaciones. Usa pandas, DuckDB o PyArrow, como prefieras.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="514c5703"
# BEGIN SOLUTION
frame = hw.table.to_pandas().query(
    f"area == '{hw.draw['area']}' and year == {hw.draw['table_year']}"
)
seen = np.frombuffer(b"".join(frame["scl"]), "u1")
found, numbers = np.unique(seen, return_counts=True)
# END SOLUTION
scl_counts = dict(zip(found.tolist(), numbers.tolist(), strict=True))  # SOLUTION
print(scl_counts)

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="be05a736"
# Mira qué clases faltan. El filtro de observaciones las quitó cuando se hizo la tabla.

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="b9f6a8b2"
# # BEGIN QUESTION
# name: q7

# %% [markdown] made_from="04dc2fc6"
# ## Pregunta 7 · Cómo guardarla (2 puntos)
#
# ¿En qué forma guardarías una tabla que un entrenamiento lee una y otra vez? Elige una forma, y la razón principal para ella.

# %% made_from="8a289c5e"
for letter, text in hw.draw["layouts"].items():
    print(f"{letter}) {text}")
print("\nporque …")
for digit, text in hw.draw["layout_reasons"].items():
    print(f"{digit}. {text}")

# %% [markdown] made_from="0449cc86"
# Asigna la letra y el número a `layout`, en esta forma: `layout = ("a", 1)`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="86ad02c0"
# BEGIN SOLUTION
right = "una fila por píxel y año, con su serie como cadenas de bytes"
why = "Un modelo pide la temporada de un píxel"
letters, digits = hw.draw["layouts"], hw.draw["layout_reasons"]
letter = next(key for key, text in letters.items() if text == right)
digit = next(key for key, text in digits.items() if text.startswith(why))
# END SOLUTION
layout = (letter, digit)  # SOLUTION

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="5aedf659"
# # BEGIN QUESTION
# name: q8

# %% [markdown] made_from="4dcec5c9"
# ## Pregunta 8 · El trabajo se detuvo (3 puntos)

# %% made_from="4e1059e2"
chunks, done = hw.draw["chunks"], hw.draw["done"]
print(
    f"Tu tabla tiene {chunks} trozos. Cuando {done} están terminados, no se puede "
    "leer el infrarrojo cercano de una escena, y el trabajo se detiene con un error. "
    "Corriges el enlace y haces otra vez la misma llamada. ¿Qué hace?\n"
)
for letter, text in hw.draw["reruns"].items():
    print(f"{letter}) {text}")
print("\nporque …")
for digit, text in hw.draw["rerun_reasons"].items():
    print(f"{digit}. {text}")

# %% [markdown] made_from="1ad27f85"
# Asigna tu elección y su razón a `rerun`, como en la pregunta 7.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="f07421b0"
# BEGIN SOLUTION
right, why = f"Hace los {chunks - done} trozos", "Los trozos terminados se guardan"
letters, digits = hw.draw["reruns"], hw.draw["rerun_reasons"]
letter = next(key for key, text in letters.items() if text.startswith(right))
digit = next(key for key, text in digits.items() if text.startswith(why))
# END SOLUTION
rerun = (letter, digit)  # SOLUTION

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION
