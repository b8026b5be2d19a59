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

# %% [markdown] made_from="a5fb819c"
# # Tarea B · Más imágenes que memoria
#
# Esta tarea corresponde al caso de estudio B. Calculas cuánto de un conjunto cabe en la memoria, lo divides por parcela, llenas fragmentos y los repartes entre trabajadores. Después comparas velocidades de lectura, simulas gradientes atrasados, calculas el costo de un entrenamiento y revisas tres afirmaciones sobre cifras publicadas. No hacen falta imágenes ni TensorFlow.
#
# **Ocho preguntas, 28 puntos, unos 55 minutos.** Las preguntas usan funciones de las anteriores, así que conserva el orden.
#
# A partir de tu nombre, la celda siguiente sortea *tu* conjunto, tus registros, tus mediciones y tus máquinas. Por eso son distintos de los de tus compañeros. Son simulados, con tamaños realistas. Escribe tu nombre en lugar de `your name` y no lo cambies una vez que hayas empezado.
#
# Debajo de cada pregunta, una celda comprueba tu respuesta y dice qué está mal; ejecútala tantas veces como quieras. Después de la entrega habrá otras comprobaciones, con otros datos: otras parcelas, registros demasiado grandes, ningún registro.
# Por eso, escribe funciones que sirvan también para otros datos.

# %% made_from="9b85f9b8"
import math

import numpy as np
import pandas as pd

from arsetlib import grading

hw = grading.start("fields", name="your name")


def offer(key):
    """Imprime las opciones y las razones."""
    for letter, text in hw.draw[key].items():
        print(f"{letter}) {text}.")
    print("\nporque …")
    for digit, text in hw.draw[f"{key}_reasons"].items():
        print(f"{digit}. {text}.")


# %% [raw] made_from="4771025e"
# # BEGIN QUESTION
# name: q1

# %% [markdown] made_from="603c0cb7"
# ## Pregunta 1 · ¿Qué conjunto cabe en la memoria? (3 puntos)

# %% made_from="1c81d36a"
own = hw.draw["set"]
print(f"{own['chips']:,} recortes de {own['side']} × {own['side']} píxeles")
print("canales: rojo, verde, azul, infrarrojo cercano")
print(f"memoria de la máquina: {own['memory_gb']} GB")
print(f"tamaño reducido: {own['small_side']} × {own['small_side']} píxeles\n")
print("¿Cómo alimentarías una red con este conjunto?")
offer("feed")

# %% [markdown] made_from="008f76ec"
# Aquí un GB tiene 10⁹ bytes. Asigna a `memory` un diccionario con cuatro entradas:
#
# - `"chip_bytes"`: ¿cuántos bytes ocupa un recorte (*chip*) de tamaño completo, con sus cuatro canales, en números de punto flotante (*floats*) de 32 bits?
# - `"set_gb"`: ¿cuántos GB ocupa el conjunto entero en esos flotantes?
# - `"fit"`: ¿cuántos recortes enteros del tamaño *reducido*, en bytes (`uint8`) y no en flotantes, caben en la memoria de la máquina si no hay nada más en ella?
# - `"feed"`: la opción y la razón que eliges de la lista de arriba, en esta forma: `("a", 1)`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="f5004237"
# BEGIN SOLUTION
chip = own["side"] ** 2 * 4 * 4
small = own["small_side"] ** 2 * 4


def choose(key, choice, reason):
    letters, digits = hw.draw[key], hw.draw[f"{key}_reasons"]
    return (
        next(k for k, text in letters.items() if text.startswith(choice)),
        next(k for k, text in digits.items() if text.startswith(reason)),
    )


answer = {
    "chip_bytes": chip,
    "set_gb": chip * own["chips"] / 1e9,
    "fit": own["memory_gb"] * 10**9 // small,
    "feed": choose("feed", "Leer un lote", "La memoria contiene"),
}
# END SOLUTION
memory = answer  # SOLUTION
memory

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="aae3dfa8"
# # BEGIN QUESTION
# name: q2

# %% [markdown] made_from="b70f0afd"
# ## Pregunta 2 · Divide por parcela (4 puntos)
#
# El nombre de un recorte empieza con el nombre de su parcela; después vienen un guion bajo y la posición del recorte en la parcela:

# %% made_from="8eca8925"
names = hw.draw["names"]
print(f"{len(names)} recortes, por ejemplo {names[:3]}")

# %% [markdown] made_from="35cb8e6a"
# Escribe `split_by_field(names, shares, seed)`. Devuelve un diccionario con las claves `"train"`, `"validation"` y `"test"` (entrenamiento, validación y prueba), y una lista de nombres para cada una.
#
# - Cada nombre está en un solo conjunto, y *todos los recortes de una parcela están en el mismo conjunto*.
# - `shares` son tres números que suman 1: las proporciones de las *parcelas* en cada conjunto, en este orden. Se permite una parcela más o menos; con tres parcelas o más, ningún conjunto queda vacío.
# - Las parcelas se sortean con `seed`: la misma semilla da los mismos conjuntos, otra semilla da otros.
# - El orden en que llegan los nombres no influye en el resultado, porque no todas las máquinas leen una carpeta en el mismo orden.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="e7530a76"
def split_by_field(names, shares, seed):
    # BEGIN SOLUTION
    fields = sorted({name.split("_")[0] for name in names})
    fields = np.random.default_rng(seed).permutation(fields).tolist()
    test, validation = (max(1, round(share * len(fields))) for share in (shares[2], shares[1]))
    sets = {
        "test": set(fields[:test]),
        "validation": set(fields[test : test + validation]),
        "train": set(fields[test + validation :]),
    }
    return {
        side: [name for name in names if name.split("_")[0] in sets[side]] for side in ("train", "validation", "test")
    }
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% made_from="2805a6d9"
print(pd.Series(split_by_field(names, (0.7, 0.15, 0.15), hw.draw["seed"])))

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="0275c34b"
# # BEGIN QUESTION
# name: q3

# %% [markdown] made_from="efb7111c"
# ## Pregunta 3 · Llena fragmentos (4 puntos)
#
# Los registros se escriben en fragmentos (*shards*) uno tras otro, en su orden. Un fragmento puede tener hasta `limit` bytes. Si con el registro siguiente se pasara del límite, el fragmento se cierra y ese registro empieza uno nuevo. Un registro mayor que el límite ocupa un fragmento él solo.
#
# Escribe `shard_for(sizes, limit)`. Recibe una lista con los bytes de cada registro y devuelve otra de la misma longitud, con el número del fragmento de cada registro, contado desde 0. Sin registros devuelve una lista vacía.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="261bdcad"
def shard_for(sizes, limit):
    # BEGIN SOLUTION
    numbers, shard, filled = [], 0, 0
    for size in sizes:
        if filled and filled + size > limit:
            shard, filled = shard + 1, 0
        filled += size
        numbers.append(shard)
    return numbers
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% made_from="14487fd1"
print(shard_for([40, 50, 30, 120, 10], 100))

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="64549be5"
# # BEGIN QUESTION
# name: q4

# %% [markdown] made_from="1f464690"
# ## Pregunta 4 · Una época con varios trabajadores (3 puntos)

# %% made_from="b1f8c002"
sizes, limit = hw.draw["sizes"], hw.draw["limit"]
workers, batch, rate = (hw.draw[key] for key in ("workers", "batch", "rate"))
print(f"{len(sizes)} registros de {min(sizes):,} a {max(sizes):,} bytes")
print(f"fragmentos de hasta {limit:,} bytes")
print(f"{workers} trabajadores, cada uno con {batch} imágenes por paso")
print(f"una buena tasa de aprendizaje para un solo trabajador: {rate}")

# %% [markdown] made_from="7be21a70"
# Los trabajadores (*workers*) reciben los fragmentos por turnos: el fragmento s va al trabajador `s % workers`. Cada trabajador forma lotes (*batches*) completos con sus registros. En cada paso se promedian los gradientes de *todos* los trabajadores, así que todos dan tantos pasos como el que tiene menos registros. Asigna a `epoch` un diccionario con cinco entradas:
#
# - `"shards"`: cuántos fragmentos llenan tus registros (usa `shard_for`);
# - `"records"`: una lista con el número de registros de cada trabajador, empezando por el trabajador 0;
# - `"steps"`: cuántos pasos tiene la época;
# - `"left_out"`: cuántos registros, de todos los trabajadores juntos, no se usan en ningún paso;
# - `"rate"`: la tasa de aprendizaje para todos los trabajadores juntos, según la regla de escala lineal.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="01021f46"
# BEGIN SOLUTION
shard = np.array(shard_for(sizes, limit))
records = np.bincount(shard % workers, minlength=workers)
steps = int(records.min()) // batch
answer = {
    "shards": int(shard.max()) + 1,
    "records": records.tolist(),
    "steps": steps,
    "left_out": len(sizes) - steps * batch * workers,
    "rate": rate * workers,
}
# END SOLUTION
epoch = answer  # SOLUTION
epoch

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="a6b2aa49"
# # BEGIN QUESTION
# name: q5

# %% [markdown] made_from="47e42d4f"
# ## Pregunta 5 · Compara velocidades de lectura (4 puntos)
#
# Se leyeron dos formatos en una misma máquina, tres veces cada uno, en frío y en caliente, con 400 imágenes por ejecución. A veces se ejecutaba también otro programa, y no se sabe cuándo. La celda imprime además cuánto tarda cada paso con una imagen, y qué podrías cambiar después.

# %% made_from="21caa40a"
runs = hw.draw["race"]
print(pd.DataFrame(runs["rows"]).to_string(index=False))
print(f"\nuna imagen, ms: {runs['parts_ms']}\n")
print("¿Qué cambiarías primero, para leer más rápido del directorio en caliente?")
offer("next")

# %% [markdown] made_from="c0df8637"
# Asigna a `race` un diccionario con cuatro entradas:
#
# - `"cold"`, `"warm"` (en frío y en caliente): imágenes por segundo de TFRecord divididas por imágenes por segundo del directorio. De las tres ejecuciones toma el estadístico que apenas cambia cuando una sola fue perturbada.
# - `"ceiling"`: cuántas veces más rápido sería el total, como máximo, si `fetch` no tardara nada.
# - `"next"`: tu opción y su razón, `("a", 1)`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="2cd94585"
# BEGIN SOLUTION
middle = {(row["form"], row["state"]): np.median(row["seconds"]) for row in runs["rows"]}
parts = runs["parts_ms"]
total = sum(parts.values())
answer = {state: middle["directory", state] / middle["tfrecord", state] for state in ("cold", "warm")}
answer["ceiling"] = total / (total - parts["fetch"])
answer["next"] = choose("next", "Reducir las imágenes una vez", "Decodificar ocupa")
# END SOLUTION
race = answer  # SOLUTION
race

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="16cb64fa"
# # BEGIN QUESTION
# name: q6

# %% [markdown] made_from="10b64145"
# ## Pregunta 6 · Gradientes atrasados (4 puntos)
#
# El descenso de gradiente minimiza una pérdida con un parámetro, w. El gradiente en w es `curve` × w. Cada paso resta `rate` × gradiente, pero el gradiente llega tarde: se calculó con el valor que w tenía `staleness` pasos antes. En los primeros pasos, cuando todavía no hay tantos valores, se usa el gradiente del valor inicial.
#
# Escribe `late_sgd(start, curve, rate, steps, staleness)`. Devuelve la lista de los valores de w: el inicial y el de después de cada paso, en total `steps` + 1 números. Con un retraso (*staleness*) de 0 es el descenso de gradiente normal.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION


# %% made_from="6b074368"
def late_sgd(start, curve, rate, steps, staleness):
    # BEGIN SOLUTION
    path = [start]
    for step in range(steps):
        late = path[max(step - staleness, 0)]
        path.append(path[-1] - rate * curve * late)
    return path
    # END SOLUTION


# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [markdown] made_from="c880f5d4"
# Ahora, tu función de pérdida. Para cada tasa, ¿cuánto vale w después de 60 pasos sin retraso, y cuánto si los gradientes llegan tarde? ¿Qué regla ves?

# %% made_from="37a1a33b"
valley = hw.draw["valley"]
start, curve, late = (valley[k] for k in ("start", "curve", "staleness"))
print(f"valor inicial {start}, curvatura {curve}, retraso {late}")
for trial in (0.05, 0.1, 0.2, 0.4, 0.8):
    ends = [late_sgd(start, curve, trial, 60, n) for n in (0, late)]
    ends = [f"{path[-1]:10.3g}" if path else "?" for path in ends]
    print(f"tasa {trial}: sin retraso {ends[0]}, con retraso {ends[1]}")

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="b9f6a8b2"
# # BEGIN QUESTION
# name: q7

# %% [markdown] made_from="e921342d"
# ## Pregunta 7 · El costo de un entrenamiento (3 puntos)
#
# Puedes alquilar una de cuatro máquinas. Los núcleos de una máquina decodifican las imágenes, y su tarjeta no entrena más rápido de lo que ellos decodifican.

# %% made_from="ab41c4bf"
costs = hw.draw["costs"]
print(pd.DataFrame(costs["machines"]).to_string(index=False))
print(f"\nun núcleo decodifica {costs['core_images_s']} imágenes por segundo")
print(f"{costs['images']:,} imágenes, {costs['epochs']} épocas\n")
print(f"medido en otra parte: 1 dispositivo {costs['one_device_images_s']} imágenes")
print(f"    por segundo, {costs['devices']} dispositivos {costs['all_devices_images_s']}")
print(f"    reducir en la conversión: {costs['conversion_s']} s, una vez")
print(f"    una época antes: {costs['epoch_before_s']} s", end=", ")
print(f"después: {costs['epoch_after_s']} s\n")
print("¿Puede una empresa de semillas vender recomendaciones de un modelo entrenado con Agriculture-Vision?")
offer("licence")

# %% [markdown] made_from="fec89b29"
# Asigna a `bill` un diccionario con cinco entradas:
#
# - `"cheapest"`: la letra de la máquina en la que el entrenamiento entero cuesta menos;
# - `"cost"`: lo que cuesta en ella. Una fracción de hora cuesta esa misma fracción del precio;
# - `"efficiency"`: la aceleración de varios dispositivos frente a uno, dividida por el número de dispositivos;
# - `"break_even"`: ¿después de cuántas épocas enteras ha ahorrado la conversión al menos los segundos que tardó?
# - `"licence"`: tu opción y su razón, `("a", 1)`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="1e30a4cf"
# BEGIN SOLUTION
machines = pd.DataFrame(costs["machines"]).set_index("machine")
decoded = machines["cores"] * costs["core_images_s"]
a_second = np.minimum(machines["card_images_s"], decoded)
hours = costs["images"] * costs["epochs"] / a_second / 3600
prices = hours * machines["price_h"]
speed_up = costs["all_devices_images_s"] / costs["one_device_images_s"]
saved = costs["epoch_before_s"] - costs["epoch_after_s"]
answer = {
    "cheapest": prices.idxmin(),
    "cost": float(prices.min()),
    "efficiency": speed_up / costs["devices"],
    "break_even": math.ceil(costs["conversion_s"] / saved),
    "licence": choose("licence", "No: hay que usar", "La licencia excluye"),
}
# END SOLUTION
bill = answer  # SOLUTION
bill

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION

# %% [raw] made_from="5aedf659"
# # BEGIN QUESTION
# name: q8

# %% [markdown] made_from="e24485a9"
# ## Pregunta 8 · Revisa tres afirmaciones (3 puntos)
#
# Alguien podría hacer estas tres afirmaciones sobre las cifras del informe. Para cada una, elige qué responderías como revisor y la única razón que justifica esa respuesta.
#
# **«Cincuenta épocas tardaron 57 minutos desde el directorio, en una P100, y 26 minutos desde TFRecord, en una V100. Por eso TFRecord es más de dos veces más rápido que un directorio».**

# %% made_from="38ffb615"
offer("cards")

# %% [markdown] made_from="4455180f"
# **«Con `MirroredStrategy` en una sola tarjeta, cincuenta épocas desde el directorio tardaron 62.5 minutos, y 57 sin ella. Por eso no vale la pena distribuir un entrenamiento».**

# %% made_from="c79e82d5"
offer("mirrored")

# %% [markdown] made_from="2b1d327b"
# **«La exactitud de la red fue de 0.98 a 1.0 en las imágenes de entrenamiento y de 0.57 a 0.61 en las de validación. Por eso es casi perfecta; el resto se arregla fácilmente».** ¿Qué le pasa a la red, y cómo lo sabes?

# %% made_from="08baec3c"
offer("gap")

# %% [markdown] made_from="92af969b"
# Asigna las tres a `referee`: `referee = {"cards": ("a", 1), "mirrored": ("b", 2), "gap": ("c", 3)}`.

# %% [raw] made_from="b91afece"
# # BEGIN SOLUTION

# %% made_from="102ed3c7"
# BEGIN SOLUTION
answer = {
    "cards": choose("cards", "Las cifras no pueden mostrarlo", "Cambiaron dos cosas"),
    "mirrored": choose("mirrored", "Muestra solo el costo", "Se gana con"),
    "gap": choose("gap", "Ha memorizado", "Solo las parcelas nuevas"),
}
# END SOLUTION
referee = answer  # SOLUTION

# %% [raw] made_from="c791baa1"
# # END SOLUTION

# %% [raw] made_from="4d27ab2a"
# # END QUESTION
