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

# %% [markdown] made_from="6af9cb04"
# # Tarea 4 · Un mapa que puedes defender
#
# Ya hiciste la práctica 4. Aquí hallas etiquetas que se hicieron erróneas y construyes conjuntos que contienen la etiqueta tan a menudo como prometes. También mides cuán lejos están ventanas nuevas del entrenamiento, estimas hectáreas con su error estándar, suavizas un mapa por parcela y eliges qué etiquetar después. No hace falta TensorFlow.
#
# **Ocho preguntas, 24 puntos, unos 55 minutos.** Las funciones que escribes se usan otra vez más abajo, así que conserva el orden.
#
# Tu nombre en la celda siguiente decide *tus* etiquetas erróneas, tus bosques, tu muestreo, tu finca y tus píxeles sin etiqueta, que por eso son distintos de los de los demás. Escríbelo en lugar de `your name` y no lo cambies después de empezar.
#
# Debajo de cada pregunta, una celda comprueba tu respuesta y dice qué está mal; ejecútala tantas veces como quieras. Después de la entrega, otras comprobaciones usan otros datos: clases ausentes, pocas filas, otras ventanas, otras parcelas.
# Por eso, escribe funciones que sirvan también para otros datos.

# %% made_from="add15768"
import numpy as np
import pandas as pd

from arsetlib import grading
from arsetlib.grading.assignments import part4

hw = grading.start("part4", name="your name")


def offer(options, reasons):
    """Imprime lo que se puede elegir."""
    for letter, text in options.items():
        print(f"{letter}) {text}.")
    print("\nporque …")
    for digit, text in reasons.items():
        print(f"{digit}. {text}.")


# %% [raw] made_from="4771025e"
# # BEGIN QUESTION
# name: q1

# %% [markdown] made_from="ecda7488"
# ## Pregunta 1 · Etiquetas que un modelo contradice (3 puntos)
#
# El aprendizaje confiado (*confident learning*) compara cada etiqueta con las probabilidades de un modelo que no ha visto la fila. Un modelo está más seguro de unas clases que de otras, así que cada clase tiene su propio umbral. Es la probabilidad media de la clase k en las filas *cuya etiqueta es k*.
#
# Escribe `suspects(label, probability)`. Devuelve un diccionario:
#
# - `"thresholds"`: (K,) el umbral de cada clase; `np.inf` para una clase que ninguna etiqueta tiene;
# - `"guess"`: (N,) la clase de la que el modelo está seguro. Toma las clases cuya probabilidad es *al menos* su umbral; de ellas, la más probable (de varias, la de número menor). Donde ninguna clase alcanza su umbral, la fila conserva su etiqueta.
#
# `label` es un arreglo de N números de clase, y `probability` un arreglo N × K. Una etiqueta es sospechosa donde `guess` es otra clase.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="9a6ca7bd"
def suspects(label, probability):
    # BEGIN SOLUTION
    thresholds = np.full(probability.shape[1], np.inf)
    for k in np.unique(label):
        thresholds[k] = probability[label == k, k].mean()
    sure = np.where(probability >= thresholds, probability, -1)
    guess = np.where(sure.max(axis=1) >= 0, sure.argmax(axis=1), label)
    return {"thresholds": thresholds, "guess": guess}
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="aae3dfa8"
# # BEGIN QUESTION
# name: q2

# %% [markdown] made_from="b11d9b15"
# ## Pregunta 2 · ¿Es la lista mejor que una al azar? (3 puntos)
#
# Ahora, tus propios datos de ejemplo. Son *simulados* y muy pocos: unas pocas parcelas en tres años. Algunas de sus etiquetas se hicieron erróneas, y un bosque aleatorio predijo cada bloque sin haberlo visto. Crear los datos tarda un minuto, una sola vez.

# %% made_from="14610cd7"
mine = part4.audited(hw)
label, probability, wrong = mine["label"], mine["probability"], mine["wrong"]
print(f"{len(label)} etiquetas, {wrong.mean():.0%} de ellas erróneas")

# %% [markdown] made_from="5ed4f56f"
# Toma las etiquetas sospechosas según tu función como la lista de lo que volverías a mirar. Asigna a `audit` un diccionario con cinco números. El primero es un recuento; los demás son proporciones de 0 a 1:
#
# - `"found"`: cuántas etiquetas hay en la lista;
# - `"precision"`: la precisión, qué proporción de la lista es errónea de verdad;
# - `"recall"`: la exhaustividad, qué proporción de todas las etiquetas erróneas está en la lista;
# - `"random_precision"`, `"random_recall"`: qué se espera de las dos si se sortea *al azar* el mismo número de etiquetas.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="e25cb342"
# BEGIN SOLUTION
listed = suspects(label, probability)["guess"] != label
found = {
    "found": listed.sum(),
    "precision": wrong[listed].mean(),
    "recall": listed[wrong].mean(),
    "random_precision": wrong.mean(),
    "random_recall": listed.mean(),
}
# END SOLUTION
audit = found  # SOLUTION
audit

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="0275c34b"
# # BEGIN QUESTION
# name: q3

# %% [markdown] made_from="1d307c28"
# ## Pregunta 3 · Conjuntos con una promesa (4 puntos)
#
# Predicción conforme (*split conformal prediction*), para cada clase por separado: escribe `sets(truth, probability, new, alpha)`. Los dos primeros son filas para calibrar, N números de clase y N × K probabilidades; `new` tiene M × K probabilidades. Devuelve un arreglo M × K, True donde la clase está en el conjunto de la fila.
#
# Para cada clase k:
#
# - las puntuaciones son 1 − p de la clase k, de las n filas cuya *verdad es k*;
# - el límite es una de ellas: la de la posición ⌈(n + 1)(1 − alpha)⌉, contada desde 1, en orden creciente. Donde la posición es mayor que n, había muy pocas filas para prometer algo, y el límite es infinito;
# - la clase k está en el conjunto de una fila nueva donde 1 − p de la clase k es *como máximo* el límite.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="18e4c08a"
def sets(truth, probability, new, alpha):
    # BEGIN SOLUTION
    limits = np.full(new.shape[1], np.inf)
    for k in np.unique(truth):
        scores = np.sort(1 - probability[truth == k, k])
        place = int(np.ceil((len(scores) + 1) * (1 - alpha)))
        if place <= len(scores):
            limits[k] = scores[place - 1]
    return 1 - new <= limits
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="64549be5"
# # BEGIN QUESTION
# name: q4

# %% [markdown] made_from="a70542f9"
# ## Pregunta 4 · Dónde se rompe la promesa (3 puntos)
#
# Un bosque se entrenó con algunos bloques en 2020. Otros bloques, también de 2020, sirven para calibrar. El resto es la prueba, en los tres años.

# %% made_from="72f6fd26"
held = part4.held_out(hw)
test, alpha = held["test"], hw.draw["alpha"]
print(f"{len(held['truth'])} filas para calibrar, alpha = {alpha}")
print(test.sample(4, random_state=1).to_string(index=False))
print("probabilidades de la prueba:", held["test_probability"].shape)

# %% [markdown] made_from="47138877"
# Haz los conjuntos de la prueba con tu función. Después haz una tabla `covered`, un DataFrame con una fila por cada `year` y las columnas
#
# - `year`;
# - `coverage`: la cobertura, la proporción de las filas cuyo conjunto contiene la clase verdadera;
# - `mean_size`: el número medio de clases en un conjunto;
# - `worst_block`: la cobertura del bloque donde es más baja *en ese año*.
#
# No redondees. Después lee la tabla: ¿en qué año se cumple la promesa? ¿Y se cumple en cada bloque de ese año?

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="82cf8adc"
# BEGIN SOLUTION
inside = sets(held["truth"], held["probability"], held["test_probability"], alpha)
hit = inside[np.arange(len(test)), test["truth"]]
test = test.assign(hit=hit, size=inside.sum(axis=1))
rows = []
for year, part in test.groupby("year"):
    worst = part.groupby("block")["hit"].mean().min()
    rows.append((year, part["hit"].mean(), part["size"].mean(), worst))
columns = ["year", "coverage", "mean_size", "worst_block"]
# END SOLUTION
covered = pd.DataFrame(rows, columns=columns)  # SOLUTION
covered

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="a6b2aa49"
# # BEGIN QUESTION
# name: q5

# %% [markdown] made_from="b2f70bfd"
# ## Pregunta 5 · Lejos del entrenamiento (3 puntos)
#
# Escribe `far(train, fold, new)`, el área de aplicabilidad de Meyer y Pebesma (2021). `train` tiene N × F características de ventanas de entrenamiento, `fold` la partición (*fold*) de cada una, `new` M × F características de ventanas nuevas. Primero divide cada característica por su desviación estándar en el entrenamiento; una característica que no varía allí queda fuera. Una distancia es la raíz de la suma de los cuadrados de las diferencias (euclidiana). La función devuelve un diccionario:
#
# - `"dissimilarity"`: (M,) de cada ventana nueva, su distancia a la ventana de entrenamiento *más cercana*, dividida por la distancia media entre dos ventanas de entrenamiento distintas;
# - `"threshold"`: para cada ventana de entrenamiento, toma la distancia a la más cercana *de otra partición*, dividida por la misma media. El umbral es el mayor de estos N números que no es un valor atípico. No es atípico si no pasa de Q3 + 1.5 (Q3 − Q1), con los cuartiles de `np.quantile`;
# - `"outside"`: la proporción de las ventanas nuevas cuya disimilitud supera el umbral.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="44b7ccd7"
def far(train, fold, new):
    # BEGIN SOLUTION
    spread = train.std(axis=0)
    used = spread > 0
    train, new = train[:, used] / spread[used], new[:, used] / spread[used]
    apart = np.sqrt(((train[:, None] - train) ** 2).sum(axis=2))
    mean = apart.sum() / (len(train) * (len(train) - 1))
    other = np.where(fold[:, None] != fold, apart, np.inf).min(axis=1) / mean
    low, high = np.quantile(other, [0.25, 0.75])
    threshold = other[other <= high + 1.5 * (high - low)].max()
    nearest = np.sqrt(((new[:, None] - train) ** 2).sum(axis=2)).min(axis=1) / mean
    outside = (nearest > threshold).mean()
    return {"threshold": threshold, "dissimilarity": nearest, "outside": outside}
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="1fc309e1"
# Tus propios datos: los bloques son los pliegues, y un modelo se entrena con un año. ¿Qué proporción de las ventanas de los otros años queda fuera? (En su propio año es 0: la más cercana a cada ventana es ella misma.)

# %% made_from="8726e341"
for year in part4.YEARS:
    train, fold = part4.features(hw, hw.draw["trained_on"])
    new, _blocks = part4.features(hw, year)
    print(f"entrenado con {hw.draw['trained_on']}, aplicado a {year}:", end=" ")
    print(far(train, fold, new)["outside"])

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="16cb64fa"
# # BEGIN QUESTION
# name: q6

# %% [markdown] made_from="4d06ca56"
# ## Pregunta 6 · Visitas, y hectáreas (3 puntos)
#
# Un mapa pequeño se dividió en cuatro estratos: el cultivo es raro en el estrato 0 y frecuente en el estrato 2. Tienes que planear un muestreo y evaluar otro del mismo mapa.

# %% made_from="7945df4c"
own = hw.draw["survey"]
print("píxeles de cada estrato:", own["pixels"], "de 0.09 ha")
print("proporción esperada del cultivo:", own["expected"])
print("muestras por repartir:", own["size"])
visits = pd.DataFrame({"stratum": own["stratum"], "crop": own["crop"]})
print(visits.head(3).to_string(index=False), "\n", len(visits), "visitas")

# %% [markdown] made_from="883c92c0"
# Asigna a `survey` un diccionario:
#
# - `"neyman"`: cuántas de las muestras previstas recibe cada uno de los cuatro estratos, para que el error estándar de la superficie del cultivo sea mínimo. Repártelas en proporción a N √(p (1 − p)), donde N son los píxeles y p la proporción esperada. Puedes redondear a números enteros;
# - `"area"`: hectáreas del cultivo, estimadas con las `visits` (`crop` es 1 donde se halló el cultivo);
# - `"error"`: su error estándar, en ha. Sea n el número de visitas a un estrato y p la proporción de ellas con el cultivo. Entonces la varianza del número de píxeles es la suma, para todos los estratos, de N² (1 − n / N) p (1 − p) / (n − 1). El factor 1 − n / N está ahí porque un píxel visitado se conoce (Stehman, 2014).

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="56ecfa4e"
# BEGIN SOLUTION
pixels, expected = np.array(own["pixels"]), np.array(own["expected"])
weight = pixels * np.sqrt(expected * (1 - expected))
n = visits.groupby("stratum")["crop"].size().to_numpy()
p = visits.groupby("stratum")["crop"].mean().to_numpy()
variance = (pixels**2 * (1 - n / pixels) * p * (1 - p) / (n - 1)).sum()
planned = own["size"] * weight / weight.sum()
found = planned, 0.09 * (pixels * p).sum(), 0.09 * np.sqrt(variance)
keys = "neyman", "area", "error"
# END SOLUTION
survey = dict(zip(keys, found, strict=True))  # SOLUTION
survey

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="b9f6a8b2"
# # BEGIN QUESTION
# name: q7

# %% [markdown] made_from="c5d54787"
# ## Pregunta 7 · Una clase para cada parcela (2 puntos)
#
# Escribe `by_parcel(parcel, predicted, truth)`. Los tres son arreglos de N píxeles. `parcel` es el número de la parcela del píxel, −1 donde no está en ninguna; `predicted` es su clase en el mapa, y `truth` su clase verdadera. La función devuelve un diccionario:
#
# - `"map"`: (N,) la clase que tiene la mayoría de los píxeles de la parcela; de varias igual de frecuentes, la de número menor. Un píxel fuera de todas las parcelas conserva su clase;
# - `"gain"`: la exactitud de este mapa menos la del mapa anterior, con todos los N píxeles. Puede ser negativa.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="6c5bed58"
def by_parcel(parcel, predicted, truth):
    # BEGIN SOLUTION
    smooth = predicted.copy()
    for one in np.unique(parcel[parcel >= 0]):
        smooth[parcel == one] = np.bincount(predicted[parcel == one]).argmax()
    gain = (smooth == truth).mean() - (predicted == truth).mean()
    return {"map": smooth, "gain": gain}
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="158d0d81"
# Tu propia finca, de 12 × 12 píxeles:

# %% made_from="a483085b"
farm = [np.array(hw.draw["farm"][key]) for key in ("parcel", "predicted", "truth")]
smooth = by_parcel(*farm)
print(farm[1].reshape(12, 12), np.reshape(smooth["map"], (12, 12)), sep="\n\n")
print("ganancia:", smooth["gain"])

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="5aedf659"
# # BEGIN QUESTION
# name: q8

# %% [markdown] made_from="67f71d66"
# ## Pregunta 8 · Qué etiquetar después (3 puntos)
#
# Tu modelo da estas probabilidades de cuatro clases para cuarenta píxeles sin etiqueta. Puedes hacer etiquetar tantos como el número que se imprime abajo.

# %% made_from="b8217b0e"
pool = pd.DataFrame(hw.draw["pool"])
print(pool.head().to_string(), "\n…")
print("etiquetas que puedes pedir:", hw.draw["count"])

# %% [markdown] made_from="ed98bc76"
# Dos frases de un informe. Para cada una, elige la respuesta correcta, y la única razón que la apoya.
#
# **«Hicimos etiquetar los 300 píxeles de menor margen. El 61 % de ellos son maíz; por eso el 61 % de la superficie del mapa es maíz, ± 5.5 % al 95 %».**

# %% made_from="439e77af"
offer(hw.draw["area"], hw.draw["area_reasons"])

# %% [markdown] made_from="577965ae"
# **«Una ejecución de cada una en la misma prueba: 50 etiquetas al azar dieron una exactitud de 0.69, 50 elegidas por margen 0.71, y 50 al azar con representaciones vectoriales (*embeddings*) junto a las bandas 0.72. Así que ayudan tanto el margen como esas representaciones».**

# %% made_from="7399686a"
offer(hw.draw["trial"], hw.draw["trial_reasons"])

# %% [markdown] made_from="a8470d80"
# Asigna a `next_labels` un diccionario con tres entradas:
#
# - `"rows"`: las filas de la tabla, contadas desde 0, en las que el margen es menor: la mayor probabilidad menos la segunda. Tantas como puedes hacer etiquetar, en cualquier orden. Usa código;
# - `"area"`, `"trial"`: tus respuestas sobre las dos frases.
#
# En esta forma: `next_labels = {"rows": [3, 8], "area": ("a", 1), "trial": ("b", 2)}`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="5ad0be5a"
# BEGIN SOLUTION
two = np.sort(pool.to_numpy(), axis=1)[:, -2:]
chosen = {"rows": np.argsort(two[:, 1] - two[:, 0])[: hw.draw["count"]].tolist()}
for claim, choice, why in (
    ("area", "No valen ni", "Los píxeles dudosos están"),
    ("trial", "Ninguna queda demostrada: repite", "Con otro sorteo"),
):
    options, reasons = hw.draw[claim], hw.draw[f"{claim}_reasons"]
    chosen[claim] = (
        next(key for key, text in options.items() if text.startswith(choice)),
        next(key for key, text in reasons.items() if text.startswith(why)),
    )
# END SOLUTION
next_labels = chosen  # SOLUTION

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION
