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

# %% [markdown] made_from="d080a357"
# # Tarea A · De una máscara a los árboles
#
# Ya hiciste el caso de estudio A. En esta tarea mides qué hay en una máscara, cortas teselas y les aplicas aumento de datos. También mides la fuga de información de una división, evalúas un mapa, eliges una red lo bastante rápida para un dron y cuentas árboles. No hace falta TensorFlow.
#
# **Ocho preguntas, 28 puntos, unos 55 minutos.** Las preguntas usan funciones de las anteriores, así que conserva el orden.
#
# El nombre que escribes en la celda siguiente determina *tu* parte de una captura, tus muestras, tus redes y tus árboles. Por eso son distintos de los de tus compañeros. Escribe tu nombre en lugar de `your name` y no lo cambies una vez que hayas empezado.
#
# Debajo de cada pregunta, una celda comprueba tu respuesta y dice qué está mal; ejecútala tantas veces como quieras. Después de la entrega habrá otras comprobaciones, con otros datos: una sola tesela, clases ausentes, un olivar sin detecciones.
# Por eso, escribe funciones que sirvan también para otros datos.

# %% made_from="c18ab4d8"
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from arsetlib import grading, groves
from arsetlib.grading.assignments import groves as given

hw = grading.start("groves", name="your name")


def offer(options, reasons):
    """Imprime las opciones y las razones."""
    for letter, text in options.items():
        print(f"{letter}) {text}.")
    print("\nporque …")
    for digit, text in reasons.items():
        print(f"{digit}. {text}.")


# %% [markdown] made_from="ef654c20"
# Esta es tu parte de una captura. Es *simulada*: no es una fotografía. Las columnas de la izquierda tienen el valor 255 en la máscara: no están etiquetadas.

# %% made_from="8bd3759f"
image, mask = given.my_part(hw)
figure, axes = plt.subplots(1, 2, figsize=(8, 3))
axes[0].imshow(image)
axes[0].set_title("captura (simulada)")
axes[1].imshow(groves.CLASSES.paint(mask))
axes[1].set_title("máscara: suelo en marrón, árboles oscuros, hierba en verde claro")
for ax in axes:
    ax.axis("off")
print(f"imagen {image.shape} {image.dtype}, máscara {mask.shape} {mask.dtype}")
print("valores de la máscara:", np.unique(mask))

# %% [raw] made_from="4771025e"
# # BEGIN QUESTION
# name: q1

# %% [markdown] made_from="753ea6ed"
# ## Pregunta 1 · ¿Qué hay en la máscara? (3 puntos)
#
# ¿Qué proporción de tu parte es suelo (0), árbol (1) y hierba (2)? Además, la red recibe máscaras de 224 × 224. ¿Cómo reducirías la tuya a ese tamaño, y por qué de esa manera?

# %% made_from="9bb8e0d7"
offer(hw.draw["resize"], hw.draw["resize_reasons"])

# %% [markdown] made_from="faec271a"
# Asigna a `shares` un diccionario con cuatro entradas. `"ground"`, `"tree"` y `"grass"` son las proporciones de suelo, árbol y hierba entre los píxeles *etiquetados* (de 0 a 1, sin redondear). `"resize"` es tu opción y su razón, en esta forma: `("a", 1)`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="a6ee64c2"
# BEGIN SOLUTION
counts = np.bincount(mask[mask != 255], minlength=3)
share = counts / counts.sum()
best, why = "Tomar el píxel más cercano", "Los números de clase son nombres"
letters, digits = hw.draw["resize"], hw.draw["resize_reasons"]
choice = (
    next(key for key, text in letters.items() if text.startswith(best)),
    next(key for key, text in digits.items() if text.startswith(why)),
)
found = {"ground": share[0], "tree": share[1], "grass": share[2]}
# END SOLUTION
shares = found | {"resize": choice}  # SOLUTION
shares

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="aae3dfa8"
# # BEGIN QUESTION
# name: q2

# %% [markdown] made_from="61de99f7"
# ## Pregunta 2 · Dónde cortar (4 puntos)
#
# Una captura se corta en teselas del mismo tamaño que, juntas, cubren todos los píxeles. Piensa en un lado de la captura, de `length` píxeles de largo.
#
# Escribe `tile_starts(length, tile, overlap)`. Devuelve una lista de números enteros en orden ascendente, el primer píxel de cada tesela, de modo que
#
# - la primera tesela empiece en 0, la última termine exactamente en el borde y ninguna lo sobrepase;
# - las vecinas compartan al menos `overlap` píxeles (0 o más, menos que `tile`);
# - haya el menor número posible de teselas.
#
# Puede haber varias respuestas que cumplan todo esto; cualquiera de ellas es correcta. El lado nunca es más corto que una tesela; si miden lo mismo, hay una sola tesela.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="3623e20e"
def tile_starts(length, tile, overlap):
    # BEGIN SOLUTION
    last, step = length - tile, tile - overlap
    count = 1 + -(-last // step)
    return [min(k * step, last) for k in range(count)]
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% made_from="f28f4041"
flight = hw.draw["flight"]
print(f"La captura de tu dron mide {flight['wide']} píxeles de ancho; las teselas empiezan en")
print(tile_starts(flight["wide"], flight["tile"], flight["overlap"]))

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="0275c34b"
# # BEGIN QUESTION
# name: q3

# %% [markdown] made_from="409efa9d"
# ## Pregunta 3 · Aumento de datos de una tesela (4 puntos)
#
# Escribe `vary(image, mask, mirror, turns, light)`. Devuelve dos arreglos nuevos, `(image, mask)`, cambiados en este orden:
#
# 1. si `mirror` es verdadero, se intercambian la izquierda y la derecha;
# 2. los dos giran `turns` cuartos de vuelta (de 0 a 3) en sentido antihorario, como hace `np.rot90`;
# 3. los valores de la imagen se multiplican por `light`, sin salir del intervalo de 0 a 255.
#
# `image` es (H, W, 3) uint8 y `mask` es (H, W) uint8; las teselas no tienen por qué ser cuadradas. Decide qué pasos se aplican también a la máscara. No modifiques los arreglos que recibe la función.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="33151067"
def vary(image, mask, mirror, turns, light):
    # BEGIN SOLUTION
    if mirror:
        image, mask = image[:, ::-1], mask[:, ::-1]
    image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    lit = np.clip(np.rint(image * float(light)), 0, 255)
    return lit.astype(np.uint8), mask.copy()
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="64549be5"
# # BEGIN QUESTION
# name: q4

# %% [markdown] made_from="dc2ef662"
# ## Pregunta 4 · Mide una fuga (3 puntos)
#
# Alguien cortó las capturas de un vuelo en teselas, hizo tres o cuatro copias de cada una con aumento de datos y mezcló las muestras. Después las repartió una por una: la mitad al entrenamiento, la mitad a la prueba. (En la tesis fueron cuatro copias, divididas en 80, 10 y 10 %.) Este es el resultado.

# %% made_from="ff8522e3"
samples = given.samples(hw)
print(f"{len(samples)} muestras:", dict(samples["side"].value_counts()))
print(samples.sample(5, random_state=1).to_string(index=False))
print()
offer(hw.draw["remedy"], hw.draw["remedy_reasons"])

# %% [markdown] made_from="c124afe3"
# Asigna a `leak` un diccionario con tres entradas:
#
# - `"twins"`: la proporción (de 0 a 1) de muestras de prueba que tienen en el entrenamiento una copia de la *misma tesela de la misma captura*;
# - `"captures"`: la proporción de muestras de prueba cuya captura tiene *alguna* tesela en el entrenamiento;
# - `"remedy"`: ¿cómo dividirías las muestras, y por qué? En la forma `("a", 1)`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="b47a51c7"
# BEGIN SOLUTION
train = samples[samples["side"] == "train"]
test = samples[samples["side"] == "test"]
twin = test.merge(train[["capture", "tile"]].drop_duplicates(), how="left", indicator=True)["_merge"]
twins = (twin == "both").mean()
same = test["capture"].isin(train["capture"]).mean()
best, why = "Dividir capturas enteras", "Una captura muestra casi todo el suelo"
letters, digits = hw.draw["remedy"], hw.draw["remedy_reasons"]
choice = (
    next(key for key, text in letters.items() if text.startswith(best)),
    next(key for key, text in digits.items() if text.startswith(why)),
)
# END SOLUTION
leak = {"twins": twins, "captures": same, "remedy": choice}  # SOLUTION
leak

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="a6b2aa49"
# # BEGIN QUESTION
# name: q5

# %% [markdown] made_from="148c512b"
# ## Pregunta 5 · Intersección sobre unión (4 puntos)
#
# Escribe `iou(truth, predicted, classes)`. Los dos primeros argumentos son arreglos de números de clase, los dos con la misma forma, de cualquier número de dimensiones. Devuelve un arreglo o una lista con la intersección sobre unión (IoU) de cada clase, de 0 a `classes` − 1 y en ese orden. La IoU es el número de píxeles que tienen la clase en los dos arreglos, dividido por el número de los que la tienen en al menos uno.
#
# - Donde la verdad es 255, el píxel no está etiquetado: déjalo fuera de todo el cálculo.
# - Si una clase no aparece en ninguno de los dos, su IoU es `np.nan`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="e02e29eb"
def iou(truth, predicted, classes):
    # BEGIN SOLUTION
    judged = truth != 255
    truth, predicted = truth[judged], predicted[judged]
    found = []
    for k in range(classes):
        both = np.sum((truth == k) & (predicted == k))
        either = np.sum((truth == k) | (predicted == k))
        found.append(both / either if either else np.nan)
    return np.array(found)
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="16cb64fa"
# # BEGIN QUESTION
# name: q6

# %% [markdown] made_from="bb7f1a24"
# ## Pregunta 6 · Evalúa un mapa (3 puntos)
#
# Una red simulada hizo este mapa de tu parte:

# %% made_from="128bd352"
predicted = given.my_prediction(hw)
figure, axes = plt.subplots(1, 2, figsize=(8, 3))
axes[0].imshow(groves.CLASSES.paint(mask))
axes[0].set_title("verdad (simulada)")
axes[1].imshow(groves.CLASSES.paint(predicted))
axes[1].set_title("predicción")
for ax in axes:
    ax.axis("off")

# %% [markdown] made_from="44f258e9"
# Asigna a `map_scores` un diccionario con cuatro números, de 0 a 1, sin redondear:
#
# - `"mean_iou"`: la IoU media de las tres clases;
# - `"frequency_weighted"`: las IoU, cada una ponderada por la proporción de su clase en la verdad etiquetada;
# - `"accuracy"`: la exactitud, la proporción de los píxeles etiquetados que son correctos;
# - `"lazy_accuracy"`: la exactitud de un mapa sin ningún árbol que acierta en todo lo demás.
#
# Usa `shares` e `iou`. ¿Cuál de los cuatro números engañaría a un productor que paga por cada árbol?

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="d775814a"
# BEGIN SOLUTION
each, judged = iou(mask, predicted, 3), mask != 255
weights = np.array([shares[key] for key in ("ground", "tree", "grass")])
scores = {
    "mean_iou": each.mean(),
    "frequency_weighted": (weights * each).sum(),
    "accuracy": (mask == predicted)[judged].mean(),
    "lazy_accuracy": 1 - shares["tree"],
}
# END SOLUTION
map_scores = scores  # SOLUTION
map_scores

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="b9f6a8b2"
# # BEGIN QUESTION
# name: q7

# %% [markdown] made_from="661dae41"
# ## Pregunta 7 · Una red para el dron (4 puntos)
#
# Tu dron toma una captura cada dos segundos, y una computadora pequeña a bordo tiene que hacer el mapa de cada una antes de la siguiente. En ella se midieron cuatro redes. El resto del proceso (leer, reducir, promediar y escribir) también lleva tiempo.

# %% made_from="132c37c9"
print(pd.DataFrame(flight["networks"]).to_string(index=False))
print(f"\nuna captura: {flight['high']} × {flight['wide']} píxeles")
print(f"teselas: {flight['tile']} × {flight['tile']}, que comparten")
print(f"    al menos {flight['overlap']} píxeles con sus vecinas")
print(f"el resto del proceso: {flight['rest_s']} s por captura")
print(f"la red más grande que cabe: {flight['largest_mb']} MB")
print(f"\nuna capa: {hw.draw['layer']}")

# %% [markdown] made_from="0053c0ae"
# Asigna a `real_time` un diccionario con cinco entradas:
#
# - `"layer"`: ¿cuántos parámetros tiene la convolución que se imprime al final? Para cada una de sus salidas (`outputs`) tiene un núcleo de `kernel` × `kernel` posiciones, con `inputs` valores en cada una, y una constante. (En FCN-8, una capa así tiene la mayoría de los parámetros.)
# - `"tiles"`: ¿cuántas teselas salen de una captura, si se corta a lo alto y a lo ancho como en la pregunta 2?
# - `"network"`: la letra de la red con la mejor IoU media entre las que son lo bastante rápidas (las teselas una tras otra *y el resto del proceso*) y caben en el disco;
# - `"seconds"`: cuánto tarda en procesar una captura, incluido el resto del proceso;
# - `"megabytes"`: cuánto ocupa su archivo. Adadelta guarda tres números de cuatro bytes por cada parámetro, y aquí un megabyte tiene 2²⁰ bytes, como en la práctica.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="9d937488"
# BEGIN SOLUTION
layer = hw.draw["layer"]
weights = (layer["kernel"] ** 2 * layer["inputs"] + 1) * layer["outputs"]
down, across = (len(tile_starts(flight[side], flight["tile"], flight["overlap"])) for side in ("high", "wide"))
table = pd.DataFrame(flight["networks"])
table["seconds"] = down * across * table["s_a_tile"] + flight["rest_s"]
table["megabytes"] = 12 * table["parameters"] / 2**20
fits = (table["seconds"] <= 2) & (table["megabytes"] <= flight["largest_mb"])
best = table[fits].sort_values("mean_iou").iloc[-1]
found = {"layer": weights, "tiles": down * across} | {key: best[key] for key in ("network", "seconds", "megabytes")}
# END SOLUTION
real_time = found  # SOLUTION
real_time

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="5aedf659"
# # BEGIN QUESTION
# name: q8

# %% [markdown] made_from="88b70c71"
# ## Pregunta 8 · Cuenta cada árbol una vez (3 puntos)
#
# Se hicieron mapas de tres capturas de un olivar pequeño y se ubicó cada copa en el terreno. Las capturas se superponen, así que la mayoría de los árboles se detectaron más de una vez.

# %% made_from="c6b9d87f"
finds = given.finds(hw)  # captura, x, y en m
true = given.true_trees(hw)  # x, y, radio en m
print(f"{len(true)} árboles verdaderos, {len(finds)} detecciones en tres capturas")
print(f"{len(given.once(finds))} después de unir las que están a menos de 1.5 m entre sí")

# %% [markdown] made_from="3eb009ff"
# Escribe `score_trees(found, true)`. `found` es un arreglo (N, 2) con x e y de cada detección; `true`, un arreglo (M, 3) con `x`, `y` y el radio de cada árbol. Todo está en metros; N puede ser 0, y M es al menos 1. Devuelve un diccionario:
#
# - `"count_error"`: (N − M) / M, con su signo;
# - `"precision"`: pares / N, o `np.nan` si no se detectó nada;
# - `"recall"`: la exhaustividad, pares / M.
#
# Una detección y un árbol verdadero pueden formar un par si la distancia de la detección al centro del árbol no supera el radio de su copa. Cada detección y cada árbol forman parte de *un par como máximo*, y el número de pares es el mayor posible. Aquí las copas no se tocan, así que cada detección cae bajo una copa como máximo.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="19df8332"
def score_trees(found, true):
    # BEGIN SOLUTION
    pairs = 0
    for x, y, radius in true:
        apart = np.hypot(found[:, 0] - x, found[:, 1] - y)
        pairs += bool((apart <= radius).any())
    n, m = len(found), len(true)
    return {
        "count_error": (n - m) / m,
        "precision": pairs / n if n else np.nan,
        "recall": pairs / m,
    }
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% made_from="018dd094"
every = finds[["x", "y"]].to_numpy()
print("todas las capturas sumadas:", score_trees(every, true))
print("cada árbol una vez:        ", score_trees(given.once(finds), true))

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [markdown] made_from="166bc537"
# La suma de las capturas incluye todos los árboles detectados, pero da un recuento demasiado alto, porque cuenta muchos varias veces. Después de unir las detecciones quedan pocos errores: arbustos, y árboles que no se ven bien en ninguna captura.
