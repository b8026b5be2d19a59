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

# %% [markdown] made_from="0f2b8be2"
# # Tarea 3 · De una red a las hectáreas
#
# Ya hiciste la práctica 3. Aquí cuentas los parámetros de una red y los días que ve, y lees el registro de una ejecución. También pruebas un modelo propio por clases y por fecha, y estimas superficies con sus intervalos de confianza. No hace falta TensorFlow.
#
# **Ocho preguntas, 28 puntos, unos 55 minutos.** Las funciones que escribes se usan otra vez más abajo, así que conserva el orden.
#
# Tu nombre en la celda siguiente decide *tu* red, tu ejecución, tu bosque y tu mapa, que por eso son distintos de los de los demás. Escríbelo en lugar de `your name` y no lo cambies después de empezar.
#
# Debajo de cada pregunta, una celda comprueba tu respuesta y dice qué está mal; ejecútala tantas veces como quieras. Después de la entrega, otras comprobaciones usan otros datos: otras capas, clases ausentes, otro mapa.
# Por eso, escribe funciones que sirvan también para otros datos.

# %% made_from="9a98a0a6"
import numpy as np
import pandas as pd

from arsetlib import grading
from arsetlib.evaluation import single_crops
from arsetlib.grading.assignments import part3

hw = grading.start("part3", name="your name")


def offer(options, reasons=None):
    """Imprime lo que se puede elegir."""
    for letter, text in options.items():
        print(f"{letter}) {text}.")
    if reasons:
        print("\nporque …")
        for digit, text in reasons.items():
            print(f"{digit}. {text}.")


# %% [raw] made_from="4771025e"
# # BEGIN QUESTION
# name: q1

# %% [markdown] made_from="6d404675"
# ## Pregunta 1 · Cuenta los parámetros (3 puntos)
#
# La red pequeña de la práctica tiene estas capas:
#
# - una convolución con `kernels` núcleos, cada uno de `width` intervalos de ancho, sobre una serie de `steps` intervalos × `bands` bandas (relleno `"valid"`, salto (*stride*) de 1);
# - un *pooling* que conserva el mayor de cada `pool` resultados;
# - una capa que aplana (*flatten*);
# - una capa densa con `dense` salidas, y otra con `classes` salidas.
#
# Cada núcleo y cada salida tiene una constante.
#
# Escribe `toy_parameters(steps, bands, kernels, width, pool, dense, classes)`. Devuelve el número de parámetros de toda la red, un número entero. Para la red de las diapositivas (20, 12, 3, 5, 5, 10, 6) son 349. Cuenta sin Keras.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="72d1c837"
def toy_parameters(steps, bands, kernels, width, pool, dense, classes):
    # BEGIN SOLUTION
    convolution = kernels * (width * bands + 1)
    flat = (steps - width + 1) // pool * kernels
    return convolution + dense * (flat + 1) + classes * (dense + 1)
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="b8596b3d"
# Tu propia red:

# %% made_from="46c3cbf8"
print(hw.draw["network"])
print("parámetros:", toy_parameters(**hw.draw["network"]))

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="aae3dfa8"
# # BEGIN QUESTION
# name: q2

# %% [markdown] made_from="bf68454f"
# ## Pregunta 2 · El campo receptivo (3 puntos)
#
# Un núcleo de cinco intervalos, de cinco días cada uno, usa 25 días y ninguno más. Las capas más profundas usan más días, y después de una capa con salto las posiciones vecinas están más separadas.
#
# Escribe `days_seen(stack, step_days)`. Devuelve de cuántos días de la serie depende una posición de la última capa.
#
# - `stack`: una lista de pares `(kernel, stride)`, núcleo y salto, con la primera capa al principio; un *pooling* de 2 es `(2, 2)`. Puede estar vacía: entonces una posición depende solo de su propio intervalo.
# - `step_days`: cuántos días tiene un intervalo.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="ee281d2d"
def days_seen(stack, step_days):
    # BEGIN SOLUTION
    steps, apart = 1, 1
    for kernel, stride in stack:
        steps += (kernel - 1) * apart
        apart *= stride
    return steps * step_days
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="f28b4ca0"
# Tus propias capas:

# %% made_from="6848e6af"
stack, step_days = hw.draw["stack"], hw.draw["step_days"]
print(f"{stack} con intervalos de {step_days} días usa {days_seen(stack, step_days)} días")

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="0275c34b"
# # BEGIN QUESTION
# name: q3

# %% [markdown] made_from="0b43d013"
# ## Pregunta 3 · Una pérdida, y tres pasos de un optimizador (3 puntos)
#
# Una red da estas probabilidades para un píxel cuya clase verdadera se conoce. Después, uno de sus parámetros, que vale 0, recibe las pendientes de la pérdida para tres lotes, uno tras otro.

# %% made_from="b8da1c93"
print("probabilidades:", hw.draw["shares"])
print(f"la clase verdadera tiene el número {hw.draw['truth']}, contado desde 0")
print(f"pendientes: {hw.draw['slopes']}, tasa: {hw.draw['rate']}")

# %% [markdown] made_from="6d7bc643"
# Asigna a `first_step` un diccionario con tres números:
#
# - `"loss"`: la entropía cruzada de esta respuesta (logaritmo natural);
# - `"sgd"`: el parámetro después de los tres pasos de SGD simple;
# - `"momentum"`: el parámetro después de tres pasos de SGD con un *momentum* de 0.9, como en la práctica: `m = 0.9 * m - rate * slope`. El parámetro se mueve en `m`, que empieza en 0.
#
# Da al menos tres decimales. La última pendiente tiene otro signo: ¿cuál de los dos optimizadores sigue moviéndose en la dirección anterior?

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="fbe6aaa9"
# BEGIN SOLUTION
sgd = momentum = m = 0.0
for slope in hw.draw["slopes"]:
    sgd -= hw.draw["rate"] * slope
    m = 0.9 * m - hw.draw["rate"] * slope
    momentum += m
loss = -np.log(hw.draw["shares"][hw.draw["truth"]])
# END SOLUTION
first_step = {"loss": loss, "sgd": sgd, "momentum": momentum}  # SOLUTION
first_step

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="64549be5"
# # BEGIN QUESTION
# name: q4

# %% [markdown] made_from="efca4bdd"
# ## Pregunta 4 · La ejecución de un colega (4 puntos)
#
# Un colega entrenó treinta épocas con siete clases, sin ningún *callback*, y te envía el registro. La tabla muestra los valores de cada época, contadas desde 1. Un perfilador midió los milisegundos de cada parte de un paso de entrenamiento.

# %% made_from="ed0f4234"
record = hw.draw["run"]
curves = pd.DataFrame({"loss": record["loss"], "val_loss": record["val_loss"]}, range(1, 31))
print(curves.T.to_string(float_format="%.3f"))
print(f"\nun paso, ms: {record['step_ms']}\n")
offer(hw.draw["verdicts"], hw.draw["signs"])

# %% [markdown] made_from="677308d3"
# Asigna a `run` un diccionario con cuatro entradas:
#
# - `"last_epoch"`, `"best_epoch"`: supón que la parada temprana hubiera vigilado `val_loss` con la paciencia que se imprime abajo. ¿Después de qué época habría terminado el entrenamiento, y los pesos de qué época se habrían conservado?
# - `"saved_ms"`: ¿cuántos milisegundos de un paso ahorraría otro dispositivo? Abajo se imprime cuántas veces es más rápido; cambia solo el tiempo de `device`.
# - `"reading"`: ¿qué muestran las curvas, y qué señal lo indica? Una letra y un número de arriba, en esta forma: `("a", 1)`.

# %% made_from="f1103209"
print(f"paciencia: {record['patience']}")
print(f"el otro dispositivo: {record['times_faster']} veces más rápido")

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="ac58261c"
# BEGIN SOLUTION
best = 0
for epoch, value in enumerate(record["val_loss"]):
    if value < record["val_loss"][best]:
        best = epoch
    if epoch - best == record["patience"]:
        break
overfits = record["val_loss"][-1] - record["loss"][-1] > 0.5
verdict = "Hay sobreajuste" if overfits else "Hay subajuste"
sign = "La pérdida de entrenamiento baja" if overfits else "Las dos pérdidas siguen altas"
reading = (
    next(k for k, t in hw.draw["verdicts"].items() if t == verdict),
    next(k for k, t in hw.draw["signs"].items() if t.startswith(sign)),
)
saved = record["step_ms"]["device"] * (1 - 1 / record["times_faster"])
found = epoch + 1, best + 1, saved, reading
keys = "last_epoch", "best_epoch", "saved_ms", "reading"
# END SOLUTION
run = dict(zip(keys, found, strict=True))  # SOLUTION
run

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="a6b2aa49"
# # BEGIN QUESTION
# name: q5

# %% [markdown] made_from="0e1929ab"
# ## Pregunta 5 · Recuentos y puntuaciones (4 puntos)
#
# Escribe `scores(truth, predicted, classes)`. Los dos primeros son arreglos de números de clase, de 0 a `classes` − 1, de la misma longitud. Devuelve un diccionario:
#
# - `"counts"`: `classes` × `classes`, cuántas veces se predijo cada clase como cada clase, *filas = verdad*, columnas = predicción;
# - `"accuracy"`: la exactitud, la proporción de muestras correctas;
# - `"micro_f1"`: F1 con los TP, FP y FN (verdaderos positivos, falsos positivos y falsos negativos) de todas las clases *sumados*;
# - `"macro_f1"`: la media de las F1 de cada clase, 2 TP / (2 TP + FP + FN). Una clase que no está ni en la verdad ni en la predicción queda fuera de la media; una que está solo en una de las dos cuenta con 0.
#
# Usa NumPy o bucles sencillos; scikit-learn está permitido si le das todas las clases. ¿Qué dos valores de los cuatro son iguales?

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="071e0c70"
def scores(truth, predicted, classes):
    # BEGIN SOLUTION
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (truth, predicted), 1)
    tp = np.diag(counts)
    fp, fn = counts.sum(0) - tp, counts.sum(1) - tp
    below = 2 * tp + fp + fn
    there = below > 0
    return {
        "counts": counts,
        "accuracy": tp.sum() / counts.sum(),
        "micro_f1": 2 * tp.sum() / below.sum(),
        "macro_f1": np.mean(2 * tp[there] / below[there]),
    }
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="16cb64fa"
# # BEGIN QUESTION
# name: q6

# %% [markdown] made_from="53fa0c3c"
# ## Pregunta 6 · Puntuaciones por fecha (4 puntos)
#
# Ahora, tu propio modelo. Un bosque aleatorio con tu semilla se entrena con los años 2020 y 2021 de los datos de ejemplo y se prueba con 2019. Las ventanas son de 120 días y empiezan en quince fechas distintas del año. Los datos de ejemplo son *simulados* y muy pocos: 124 píxeles de unas pocas parcelas. Crearlos tarda un minuto, una sola vez.

# %% made_from="b484b31f"
mine = part3.predictions(hw)
names = hw.study.legend.names()
crops = [hw.study.legend.keys.index(c) for c in single_crops(hw.study.legend)]
print(mine.sample(4, random_state=1).to_string(index=False))
print("clases:", dict(enumerate(names)))
print("los cuatro cultivos tienen los números", crops)

# %% [markdown] made_from="d6adb2b2"
# Haz una tabla `by_start`, un DataFrame con una fila por cada `start` y las columnas
#
# - `start`: primer día de la ventana;
# - `accuracy`: la exactitud, la proporción de muestras correctas, de 0 a 1;
# - `crops_accuracy`: lo mismo, con las muestras cuya *verdad* es uno de los cuatro cultivos;
# - `constant`: la exactitud de predecir siempre la clase más frecuente en la verdad *de ese inicio*.
#
# No redondees.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="ba478316"
# BEGIN SOLUTION
rows = []
for start, part in mine.groupby("start"):
    right = part["truth"] == part["predicted"]
    crop = part["truth"].isin(crops)
    commonest = part["truth"].value_counts(normalize=True).max()
    rows.append((start, right.mean(), right[crop].mean(), commonest))
columns = ["start", "accuracy", "crops_accuracy", "constant"]
# END SOLUTION
by_start = pd.DataFrame(rows, columns=columns)  # SOLUTION
by_start

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="b0dd4123"
# Tus puntuaciones para la ventana que empieza el día 106, con tu función de la pregunta 5:

# %% made_from="78b0ccba"
summer = mine[mine["start"] == 106][["truth", "predicted"]].to_numpy()
print(scores(*summer.T, len(names)))

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="b9f6a8b2"
# # BEGIN QUESTION
# name: q7

# %% [markdown] made_from="e79ce335"
# ## Pregunta 7 · Dos afirmaciones (3 puntos)
#
# Dos frases de un informe. Para cada una, elige la respuesta correcta, y la única razón que la apoya.
#
# **«La ventana que empieza el día 196 tiene una de las mejores exactitudes de todas; por eso, para el mapa de cultivos, espera hasta que termine, en noviembre».** Tu tabla de la pregunta 6 ayuda.

# %% made_from="97cf8d6f"
offer(hw.draw["late"], hw.draw["late_reasons"])

# %% [markdown] made_from="a02e46dc"
# **«Probamos cuarenta combinaciones de filtros, *dropout* y tasa de aprendizaje, y nos quedamos con la de mejor exactitud en la prueba. Fue 0.93, y eso es lo que los usuarios pueden esperar».**

# %% made_from="a77a323a"
offer(hw.draw["search"], hw.draw["search_reasons"])

# %% [markdown] made_from="4ef6853b"
# Asigna las dos a `claims`, en esta forma: `claims = {"late": ("a", 1), "search": ("b", 2)}`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="71f1b457"
# BEGIN SOLUTION
answers = {}
for claim, choice, why in (
    ("late", "La exactitud dice poco", "Para entonces casi toda la verdad"),
    ("search", "0.93 es demasiado alto", "La mejor de cuarenta"),
):
    options, reasons = hw.draw[claim], hw.draw[f"{claim}_reasons"]
    answers[claim] = (
        next(key for key, text in options.items() if text.startswith(choice)),
        next(key for key, text in reasons.items() if text.startswith(why)),
    )
# END SOLUTION
claims = answers  # SOLUTION

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="5aedf659"
# # BEGIN QUESTION
# name: q8

# %% [markdown] made_from="9563c41b"
# ## Pregunta 8 · Hectáreas con un intervalo de confianza (4 puntos)
#
# Se visitaron 50 lugares al azar de cada clase de tu mapa. Contar los píxeles del mapa da un resultado sesgado; las visitas corrigen el sesgo (Olofsson y otros, 2014).
#
# Escribe `area_with_interval(counts, mapped_ha, k)`. Devuelve tres números, `(estimate, low, high)`: las hectáreas de la clase `k`, y los extremos del intervalo de confianza del 95 %.
#
# - `counts`: arreglo K × K de visitas, *filas = verdad*, columnas = clase en el mapa;
# - `mapped_ha`: hectáreas de cada una de las K clases, contadas en el mapa.
#
# Sea n el número de visitas a la clase j del mapa, y p la proporción de ellas cuya verdad es `k`. Entonces:
#
# - la estimación es la suma, para todas las j, de `mapped_ha[j]` × p;
# - su varianza es la suma de `mapped_ha[j]`² × p (1 − p) / (n − 1);
# - el intervalo se extiende 1.96 errores estándar (raíz cuadrada de la varianza) a cada lado.
#
# Ninguna superficie es menor que 0. Una clase sin visitas tampoco tiene hectáreas en el mapa, y no suma nada.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="fce5980e"
def area_with_interval(counts, mapped_ha, k):
    # BEGIN SOLUTION
    visits = counts.sum(axis=0)
    there = visits > 0
    p = counts[k, there] / visits[there]
    ha = np.asarray(mapped_ha)[there]
    estimate = (ha * p).sum()
    half = 1.96 * np.sqrt((ha**2 * p * (1 - p) / (visits[there] - 1)).sum())
    ends = estimate, max(estimate - half, 0), estimate + half
    return tuple(round(float(end), 2) for end in ends)
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="731cebc0"
# Tu mapa: ¿a qué distancia está la superficie contada de la estimación? ¿Está dentro del intervalo?

# %% made_from="1724a0ea"
visits = hw.draw["visits"]
counts, mapped_ha = np.array(visits["counts"]), np.array(visits["mapped_ha"])
print(pd.DataFrame(counts).rename_axis("verdad", axis=0).to_string())
for k, mapped in enumerate(mapped_ha):
    print(f"clase {k}, {mapped:,.0f} ha en el mapa:", end=" ")
    print(area_with_interval(counts, mapped_ha, k))

# %% [raw] made_from="4d27ab2a"
# # END QUESTION
