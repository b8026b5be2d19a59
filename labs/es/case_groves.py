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

# %% [markdown] made_from="e67ec5e4"
# # Caso de estudio A · Contar olivos desde un dron
#
# :::{admonition} De un vistazo
# :class: lab-header
# **Pregunta.** Un dron ha tomado imágenes de un olivar. ¿Qué píxeles muestran árboles, cuáles hierba y cuáles suelo desnudo? ¿Cuántos árboles hay?
#
# **Producto.** Una red pequeña que da una clase a cada píxel, su puntuación en terreno nuevo y un recuento de los árboles.
#
# **Al terminar sabrás**
# - decir qué es una máscara, y por qué una regla basada solo en el color no hace una buena;
# - cortar capturas en teselas, aumentarlas y mantener en un solo conjunto las que están relacionadas;
# - medir cuánto sube una puntuación con una fuga de información;
# - describir FCN-8 y U-Net: tamaños, conexiones de salto, parámetros;
# - calcular la IoU a mano, y decir cuándo engaña la exactitud por píxel;
# - encontrar árboles en un mapa de píxeles, y contar cada árbol una sola vez.
#
# **Tiempo.** Unos 90 minutos en dos mitades, con una pausa antes de la sección 10. **Necesitas** saber qué es un lote (práctica 2) y qué es entrenar (práctica 3). No hace falta tarjeta gráfica.
# :::
#
# La práctica sigue una tesis de grado de 2020 (UPC). La tesis usó diez imágenes de un olivar real, de 3808 × 2912 píxeles cada una.
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

# %% [markdown] made_from="978806a8"
# ## 1. Un vuelo sobre un olivar
#
# El dron toma una foto, una *captura*, cada dos segundos. Por eso, la mayor parte del terreno de una captura está también en la siguiente. Una línea decide de dónde vienen las capturas. `"simulated"` las hace; tarda más o menos un minuto, una sola vez.
# También puedes dar el nombre de tu propia carpeta. Debe contener `images/`, `masks/` con suelo, árbol y hierba, y `flight.json`, que da el lugar de cada captura en el terreno. Las celdas que siguen a esta no cambian.
#
# :::{admonition} Datos simulados
# :class: simulated
# Si no cambias la línea, estas imágenes no son fotografías. Un programa hace el olivar, su luz y sus máscaras, y todas las figuras dicen *simulado*. Las puntuaciones muestran cómo funciona el método. No muestran cuán bien funciona en un olivar real.
# :::

# %% made_from="5697c85d"
from arsetlib import groves, lab

source = "simulated"  # o tu carpeta: images/, masks/, flight.json
here = lab.groves(source)
full = source == "simulated" and not here.small  # lo necesitan algunos assert

captures = groves.captures(here.folder)
report = groves.check(here.folder)
print(f"{len(captures)} capturas, {len(report.problems)} problemas")
assert report.ok
assert all(c.mask is not None for c in captures)

# %% made_from="e80774cc"
flight = here.folder / "flight.json"
poses = groves.poses(flight)
metres = poses[captures[0].name].metres  # lado de un píxel en el suelo
image, mask = groves.read(captures[0])
print(f"{image.shape[1]} × {image.shape[0]} píxeles de {100 * metres:.1f} cm")
assert {c.name for c in captures} <= set(poses)

# %% [markdown] made_from="c0111a0d"
# ## 2. ¿Qué es una máscara?
#
# :::{admonition} Predice
# :class: predict
# Una captura es un arreglo de alto × ancho × 3. ¿Qué forma tiene su máscara, y cuáles son sus valores?
# :::

# %% made_from="c73f13da"
from arsetlib import figures

CLASSES = groves.Classes.of(here.folder)
KEYS, TITLES = CLASSES.keys, CLASSES.titles()
TREE = KEYS.index("tree")
assert set(KEYS) == {"ground", "tree", "grass"}
pair = {"captura": image, "máscara": CLASSES.paint(mask)}
fig = figures.panels(pair, classes=CLASSES, metres=metres, study=here)
figures.show(
    fig, "Una captura del olivar y su máscara en los colores de las clases"
)

# %% made_from="61026ec8"
import numpy as np

counts = np.bincount(mask.ravel(), minlength=256)
print(f"imagen {image.shape} {image.dtype}, máscara {mask.shape} {mask.dtype}")
for number, key in enumerate(TITLES):
    print(f"{number} {key}: {counts[number] / mask.size:.1%} de los píxeles")

assert mask.shape == image.shape[:2]
assert set(np.unique(mask)) <= {*range(len(KEYS)), groves.IGNORE}

# %% [markdown] made_from="2627ac18"
# Una máscara tiene el alto y el ancho de su imagen, y contiene un número entero para cada píxel: el número de su clase. Los colores son solo para mostrarla; un archivo puede guardarlos en su paleta. Un píxel que nadie pudo etiquetar tiene el número 255, y ninguna puntuación lo cuenta.
#
# De ahí siguen dos reglas. No suavices nunca una máscara, y no cambies nunca su tamaño con medias: la media de suelo (*ground*, 0) y hierba (*grass*, 2) es árbol (*tree*, 1). Guárdala como PNG, nunca como JPEG:

# %% made_from="9f4b8aa6"
import io

from PIL import Image

file = io.BytesIO()
Image.fromarray(mask).save(file, "jpeg")
changed = np.asarray(Image.open(file)) != mask
print(f"JPEG cambia el {changed.mean():.1%} de los píxeles de la máscara")
assert changed.any()

# %% [markdown] made_from="7ad7e839"
# ## 3. Etiquetas por color, y por qué fallan
#
# Las máscaras de la tesis se hicieron en un editor de imágenes: hacer clic en un color, seleccionar todos los píxeles parecidos, corregir a mano. ¿Puede una regla sustituir este trabajo? El *exceso de verde*, (2 g − r − b) / (r + g + b), es alto en las plantas, y los árboles son más oscuros que la hierba. Por eso probamos dos umbrales para tres clases:

# %% made_from="a1fb001d"
GROUND, GRASS = KEYS.index("ground"), KEYS.index("grass")


def by_colour(image, least_green, most_bright):
    """Suelo donde no es verde; si no, árbol donde es oscuro; si no, hierba."""
    total = image.sum(-1, dtype="f4") + 1
    red, green, blue = np.moveaxis(image.astype("f4"), -1, 0)
    plant = (2 * green - red - blue) / total > least_green
    dark = total / 3 < most_bright
    return np.where(plant, np.where(dark, TREE, GRASS), GROUND)


# %% [markdown] made_from="e46526cf"
# Para puntuar una máscara predicha, la comparamos con la verdadera, clase por clase. La *superposición* de una clase es el número de píxeles que tienen esta clase en las dos máscaras, dividido por el número de píxeles que la tienen en al menos una.


# %% made_from="af0215b4"
def overlap(truth, guess, classes=3):
    """(K,) Para cada clase: píxeles en común / píxeles de al menos una."""
    known = truth != groves.IGNORE
    truth, guess = truth[known], guess[known]
    both = [((truth == k) & (guess == k)).sum() for k in range(classes)]
    either = [((truth == k) | (guess == k)).sum() for k in range(classes)]
    return np.array(both) / np.array(either)


# %% [markdown] made_from="bb0dcf0b"
# :::{admonition} Predice
# :class: predict
# Probamos unos doscientos pares de umbrales y tomamos el que resulta mejor *con la propia máscara verdadera*. ¿Cuál es la superposición media de las tres clases?
# :::

# %% made_from="0bf1a39e"
thin = np.s_[::2, ::2] if here.small else np.s_[::7, ::7]  # más rápido
tried = {
    (green, bright): overlap(mask[thin], by_colour(image[thin], green, bright))
    for green in np.linspace(-0.05, 0.2, 16)
    for bright in range(50, 180, 10)
}
best = max(tried, key=lambda pair: tried[pair].mean())
print(f"el mejor de {len(tried)} pares: verde {best[0]:.2f}, oscuro {best[1]}")

# %% made_from="491d23f3"
guess = by_colour(image, *best)
pair = {"verdad": CLASSES.paint(mask), "por color": CLASSES.paint(guess)}
fig = figures.panels(pair, classes=CLASSES, metres=metres, study=here)
figures.show(fig, "La máscara verdadera, y una hecha con dos umbrales de color")

# %% made_from="20aafd6e"
colour_iou = overlap(mask, guess)
for key, value in zip(TITLES, colour_iou, strict=True):
    print(f"{key}: superposición {value:.2f}")
print(f"media: {colour_iou.mean():.3f}")
false_trees = (mask[guess == TREE] != TREE).mean()
brown_grass = (guess[mask == GRASS] == GROUND).mean()
print(f"{false_trees:.0%} de los píxeles clasificados como árbol no son árbol")
print(f"{brown_grass:.0%} de la hierba se clasifica como suelo")
assert not full or (colour_iou.mean() < 0.55 and false_trees > 0.1)
assert not full or brown_grass > 0.1

# %% [markdown] made_from="84950853"
# La media impresa responde la pregunta. En el olivar simulado es baja, aunque los umbrales se eligieron con la máscara verdadera. Compara las dos imágenes: la sombra en el suelo se clasifica como árbol, porque es tan oscura como una copa, y la hierba seca, como suelo. Las dos últimas líneas muestran cuántos píxeles se equivocan de estas dos maneras. El color de un solo píxel no basta. Tú reconoces un árbol por los píxeles que lo rodean: su textura, su contorno y su sombra. Una red también debe aprenderlo.
#
# :::{admonition} Ejercicio 1
# :class: exercise
# Usa más de un píxel: desenfoca la captura antes de aplicar la misma regla. Para desenfocarla, redúcela a un dieciseisavo de su tamaño y amplíala otra vez, con `Image.fromarray(image).resize`. ¿Tiene ahora el mejor par una superposición media mayor? ¿Qué clase mejora más?
# :::

# %% tags=["hide-cell"] made_from="cc914491"
# Solución: desenfocar quita ruido dentro de las copas, pero también bordes
# finos y matas.
size = image.shape[1::-1]
coarse = Image.fromarray(image).resize((size[0] // 16, size[1] // 16))
blurred = np.asarray(coarse.resize(size))[thin]
scores = {p: overlap(mask[thin], by_colour(blurred, *p)) for p in tried}
winner = max(scores.values(), key=np.mean)
print(f"media: nítida {tried[best].mean():.3f}, borrosa {winner.mean():.3f}")
for key, sharp, soft in zip(TITLES, tried[best], winner, strict=True):
    print(f"{key}: nítida {sharp:.2f}, borrosa {soft:.2f}")

# %% [markdown] made_from="53fd9bba"
# ## 4. Cortar en teselas
#
# Una red recibe imágenes de un solo tamaño, y sus capas necesitan muchas veces la memoria de la imagen. Por eso cada captura se corta en teselas (*tiles*). La tesis cortó cada captura en 35 teselas, 5 a lo alto y 7 a lo ancho, y cambió el tamaño de cada una a 224 × 224 píxeles para la red.
#
# :::{admonition} Predice
# :class: predict
# ¿Qué ancho y qué alto tiene una de las 35 teselas? ¿Qué se pierde al cambiar su tamaño a 224 × 224? ¿Qué le pasa a un árbol que queda sobre un corte?
# :::


# %% made_from="96b74241"
def cut_by_hand(array, down, across):
    """(down · across, h, w, …); las filas y columnas que sobran se descartan."""
    high, wide = array.shape[0] // down, array.shape[1] // across
    return np.stack([
        array[i * high : (i + 1) * high, j * wide : (j + 1) * wide]
        for i in range(down)
        for j in range(across)
    ])  # fmt: skip


# %% made_from="5fe4b855"
GRID = groves.GRID
cut = groves.cut(image, grid=GRID)
mine = cut_by_hand(image, *GRID)
print(f"a mano {mine.shape}, biblioteca {cut.values.shape}")
print(f"teselas del vuelo: {len(captures) * len(cut)}")
assert len(cut) == len(mine) == 35
assert np.array_equal(groves.stitch(cut), image)  # no se pierde nada

# %% made_from="6f04ed74"
SIDE = 64 if here.small else 224  # píxeles de una tesela para la red
x, y = next(groves.arrays(captures[:1], grid=GRID, size=SIDE, batch=35))
picked = {f"tesela {k + 1}": x[k] for k in (0, 9, 17, 25, 30, 34)}
fig = figures.panels(picked, columns=3, study=here)
figures.show(fig, "Seis teselas de una captura, como las verá la red")
assert x.shape == (35, SIDE, SIDE, 3)

# %% made_from="5cc1de89"
overlapping = groves.cut(mask, size=SIDE, overlap=SIDE // 4)
print(f"{len(overlapping)} teselas que se superponen {SIDE // 4} píxeles o más")
assert np.array_equal(groves.stitch(overlapping), mask)

# %% [markdown] made_from="989252d9"
# Las formas impresas dan el alto y el ancho de una tesela. Donde un lado no se divide en partes iguales, el corte a mano descarta el resto. En la biblioteca, en cambio, las teselas vecinas comparten un píxel. Por eso `stitch(cut(x))` es igual a x, también con teselas que se superponen.
# Cada píxel de una tesela reducida es la media de varios píxeles: se pierden las hojas sueltas, pero las copas se siguen viendo. Las proporciones cambian si la tesela no es cuadrada.
# Un árbol sobre un corte está en dos teselas, una parte en cada una. Un modelo puede clasificar las dos partes de manera distinta. Por eso las teselas se superponen al *predecir*, y `stitch` promedia las probabilidades predichas (sección 10).
#
# ## 5. Aumentar
#
# Diez capturas son pocas. El *aumento de datos* (*augmentation*) hace teselas de entrenamiento nuevas a partir de las que ya hay. Una tesela girada, reflejada o más clara sigue siendo una imagen de un olivar, pero la red no la ha visto antes.
#
# :::{admonition} Predice
# :class: predict
# ¿Cuáles de estos cambios hay que hacer también en la máscara: reflejar, girar un cuarto de vuelta, más luz, más contraste?
# :::

# %% made_from="941f45c4"
tile = (255 * x[17]).round().astype("u1")
truth = y[17].argmax(-1).astype("u1")  # números de clase
drawn = [groves.augment(tile, truth, seed=1, key=k) for k in range(5)]
shown = {"sin cambios": tile}
shown |= {f"aumentada {k + 1}": drawn[k][0] for k in range(5)}
fig = figures.panels(shown, columns=3, study=here)
figures.show(fig, "Una tesela sin cambios, y cinco cambios aleatorios de ella")

# %% made_from="db46adfc"
before = np.bincount(truth.ravel(), minlength=len(KEYS))
for _, moved in drawn:  # los píxeles se mueven, y no se añade ninguno
    assert np.array_equal(before, np.bincount(moved.ravel(), minlength=3))

again, _ = groves.augment(tile, truth, seed=1, key=4)
print("píxeles de cada clase, antes y después:", before)
print("el mismo sorteo dos veces:", np.array_equal(again, drawn[4][0]))
print("factores de brillo:", groves.Augment().brightness)
assert np.array_equal(again, drawn[4][0])

# %% [markdown] made_from="0eeefc14"
# Reflejar y girar mueven píxeles, así que hay que cambiar también la máscara. Más luz y más contraste no mueven nada, así que la máscara queda como está.
# Los factores necesitan límites. El código publicado de la tesis sorteaba el brillo entre 0.3 y 2; la última línea impresa muestra los límites de la biblioteca. El ejercicio 2 mide la diferencia.
#
# :::{admonition} Ejercicio 2
# :class: exercise
# ¿Qué proporción de la tesela queda sobreexpuesta (255 en alguna banda) con brillo 2, y qué proporción queda casi negra con 0.3? `groves.Augment(brightness=(2, 2), contrast=(1, 1))` fija el factor. En las escenas de satélite del hemisferio norte la luz siempre viene del sur. ¿Qué cambios del aumento de datos serían incorrectos para ellas?
# :::

# %% tags=["hide-cell"] made_from="c2890ef6"
# Solución. Las sombras muestran de dónde viene la luz: una escena girada tiene
# el sol al norte. Ninguna escena real es así, y la red lo aprende en vano.
for factor in (0.3, 1.25, 2.0):
    how = groves.Augment(False, False, (factor, factor), (1, 1))
    lit, _ = groves.augment(tile, truth, how=how)
    over, black = (lit == 255).any(-1).mean(), (lit < 40).all(-1).mean()
    print(f"brillo {factor}: {over:.0%} sobreexpuesto, {black:.0%} casi negro")

# %% [markdown] made_from="f2cdb266"
# ## 6. La fuga
#
# La tesis cortó 350 teselas e hizo cuatro muestras de cada una por aumento de datos. Mezcló las 1,400 muestras y las dividió al azar: 80 % para entrenamiento, 10 % para validación y 10 % para prueba, «cada muestra en un solo conjunto». ¿Es una prueba justa? Una *fuga de información* (*leakage*) es información sobre la prueba que está en los datos de entrenamiento.
#
# Para averiguarlo usamos un modelo que *solo copia*. No aprende nada. Para cada tesela de prueba busca la tesela de entrenamiento más parecida, reflejada si hace falta, y devuelve la máscara de esa tesela.
#
# :::{admonition} Predice
# :class: predict
# ¿Qué superposición media alcanza el modelo que copia si se dividen las muestras, como en la tesis? ¿Y si se dividen capturas enteras? ¿Y si, además, el entrenamiento y la prueba no comparten terreno?
# :::


# %% made_from="ab480035"
def flips(x):
    """(4 N, …) Teselas, y las mismas reflejadas en cada eje y en los dos."""
    return np.concatenate([x, x[:, ::-1], x[:, :, ::-1], x[:, ::-1, ::-1]])


def look(x, n=14):
    """(N, n²) Valores de gris gruesos de las teselas, con longitud 1."""
    part = x.shape[1] // n
    grey = x.mean(-1).reshape(len(x), n, part, n, part).mean((2, 4))
    grey = grey.reshape(len(x), -1)
    grey = grey - grey.mean(1, keepdims=True)  # sin la luz de la tesela
    return grey / np.linalg.norm(grey, axis=1, keepdims=True)


# %% made_from="6fc4d129"
def copy_masks(train, test, **how):
    """IoU media de las máscaras copiadas, y similitud mediana de las teselas."""
    x, y = next(groves.arrays(train, size=56, batch=2000, **how))
    tiles, truth = next(groves.arrays(test, size=56, batch=2000, **how))
    alike = look(tiles) @ look(flips(x)).T  # (test, 4 · train)
    copied = flips(y)[alike.argmax(1)].argmax(-1)
    return overlap(truth.argmax(-1), copied).mean(), np.median(alike.max(1))


# %% made_from="f4452791"
import textwrap
import warnings

with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    leaky = groves.leaky_split(captures, seed=1, grid=GRID)
    random = groves.split(captures, seed=1)
    clean = groves.split(captures, (0.8, 0, 0.2), by="flight")
for message in {str(w.message): None for w in warned}:
    print(textwrap.fill(message, 79), "\n")
assert any(w.category is groves.LeakWarning for w in warned)

# %% [markdown] made_from="04e74b3b"
# La biblioteca advierte de la primera división, y también de la segunda si las capturas se superponen. Ahora probamos el modelo que copia con las tres divisiones:

# %% made_from="274a2f11"
import pandas as pd

leak = pd.DataFrame(
    [
        ("muestras (tesis)", *copy_masks(leaky["train"], leaky["test"])),
        *[
            (name, *copy_masks(split["train"], split["test"], grid=GRID))
            for name, split in {"capturas": random, "vuelo": clean}.items()
        ],
    ],
    columns=["división por", "IoU media", "similitud"],
)
figures.show(leak, "Un modelo que solo copia, con tres divisiones")

# %% made_from="ed5b3a32"
by_copy = leak.set_index("división por")["IoU media"]
print(by_copy.round(3).to_string())
assert by_copy["muestras (tesis)"] > 0.95
assert by_copy[["capturas", "vuelo"]].max() < by_copy["muestras (tesis)"]
assert not full or by_copy["vuelo"] < by_copy["capturas"]

# %% [markdown] tags=["answer"] made_from="936747c6"
# Las tres filas de la tabla responden las tres preguntas. Si se dividen las muestras, un modelo que no ha aprendido nada recibe una puntuación casi perfecta, porque casi todas las muestras de prueba tienen una copia en el conjunto de entrenamiento. Esto no demuestra que las redes de la tesis memorizaran teselas. Demuestra que su prueba *no habría podido detectarlo*.
# Si se dividen capturas enteras, la puntuación es más baja. Pero en el olivar simulado sigue siendo demasiado alta, porque las capturas vecinas muestran los mismos árboles. La tercera división deja fuera las capturas que están entre el entrenamiento y la prueba. Tiene menos capturas, pero su puntuación vale para terreno nuevo.
#
# ## 7. Una división sin terreno en común
#
# El vuelo se divide en dos partes, entrenamiento y prueba. Entre ellas, las capturas que muestran terreno de las dos se dejan fuera. Diez capturas con esta superposición son pocas para tres conjuntos sin terreno en común. Por eso solo la *prueba* no comparte terreno con los demás, y la última captura de entrenamiento pasa a ser el conjunto de validación. Las puntuaciones de validación son demasiado altas, pero las usamos solo para elegir la época.
#
# :::{admonition} Predice
# :class: predict
# Cada captura muestra el 80 % del terreno de la anterior. ¿Cuántas capturas debe haber entre dos que no comparten nada?
# :::

# %% made_from="9be52dce"
train, test = clean["train"][:-1], clean["test"]
validation = clean["train"][-1:]
sides = {"entrenamiento": train, "validación": validation, "prueba": test}
side_of = {c.name: side for side, part in sides.items() for c in part}
left_out = [c.name for c in captures if c.name not in side_of]
seen = {c.name: groves.ground_seen(train, [c]) for c in captures}
print(f"{len(left_out)} capturas entre entrenamiento y prueba se dejan fuera")
assert max(seen[c.name] for c in test) == 0

# %% made_from="6965c57d"
colour_of = dict(zip((*sides, "fuera"), figures.LINES, strict=False))
shares = pd.Series(
    {f"{n}, {side_of.get(n, 'fuera')}": 100 * s for n, s in seen.items()}
)
colours = [colour_of[label.split(", ")[1]] for label in shares.index]
title, unit = "Terreno ya visto en el entrenamiento", "% de una captura"
fig = figures.bars(shares, title, unit, study=here, colours=colours, text=".0f")
figures.show(
    fig, "Proporción del terreno de cada captura ya visto en el entrenamiento"
)

# %% [markdown] made_from="341f62a1"
# Cada captura muestra una quinta parte de terreno nuevo, así que después de cinco capturas no debería quedar nada en común: la respuesta es cuatro capturas. ¿Lo confirman los contornos de `flight.json`?

# %% made_from="33ee8901"
pairs = zip(captures, captures[5:], strict=False)  # con cuatro en medio
shared = [groves.ground_seen([a], [b]) for a, b in pairs]
print(f"con cuatro en medio comparten hasta un {max(shared, default=0):.2%}")
assert max(shared, default=0) < 0.1

# %% [markdown] made_from="87eccd48"
# Casi: la proporción impresa es pequeña, pero no tiene que ser cero, porque el dron gira y se desvía un poco. La división no permite ningún terreno en común, así que puede dejar fuera más de cuatro capturas. El número está impreso arriba.
#
# Ahora los lotes (*batches*), como en la práctica 2: imágenes de 0 a 1, y máscaras con un canal para cada clase.

# %% made_from="e9c7bf81"
import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # sin avisos sobre la velocidad
how = {"grid": GRID, "size": SIDE, "batch": 8}
batches = {
    "train": groves.batches(train, augment=True, seed=1, **how),
    "validation": groves.batches(validation, **how),
}
print({side: 35 * len(part) for side, part in sides.items()}, "teselas")

# %% made_from="8e5b963e"
x, y = (v.numpy() for v in next(iter(batches["validation"])))
print(f"imágenes {x.shape} {x.dtype}, máscaras {y.shape} {y.dtype}")
assert x.min() >= 0
assert x.max() <= 1
assert set(np.unique(y.sum(-1))) <= {0, 1}  # una clase, o ignorado

# %% [markdown] made_from="667a0b22"
# ## 8. FCN-8 y U-Net
#
# Las dos redes empiezan con un *codificador* (*encoder*) que se hizo para clasificar imágenes enteras: cinco etapas, cada una con la mitad de ancho y de alto que la anterior. La última etapa dice *qué* hay en la imagen, pero apenas *dónde*. Se diferencian en el *decodificador* (*decoder*), que calcula un resultado de tamaño completo ([fuentes](../../book/es/bibliography.md)).
#
# - **FCN-8** (Long y otros, 2015) aplica un clasificador en cada lugar de la última etapa y amplía sus valores. Les suma los de dos etapas más finas, y amplía la suma ocho veces.
# - **U-Net** (Ronneberger y otros, 2015) amplía etapa por etapa. En cada una combina los valores del codificador de ese tamaño con los valores de la etapa anterior. Estas conexiones se llaman *conexiones de salto* (*skip connections*).
#
# :::{admonition} Predice
# :class: predict
# Con VGG-16 como codificador, ¿cuál de las dos tiene más parámetros, y en qué capas está la mayoría?
# :::

# %% made_from="1c67fc1e"
from arsetlib import models
from arsetlib.models import segmentation


def decoder_of(name, layers):
    """Las capas tras el codificador, y el número total de parámetros."""
    network = segmentation.build(name, encoder="vgg16", size=224)
    table = models.layer_table(network)
    decoder = table[table["layer"].str.fullmatch(layers)]
    return decoder.set_index("layer"), network.count_params()


# %% made_from="e92f60da"
fcn8, fcn8_size = decoder_of("fcn8", r"dense\d|scores\d+|up\d+|sum\d+")
figures.show(fcn8.reset_index(), "El decodificador de FCN-8 sobre VGG-16")
dense1 = fcn8.loc["dense1", "parameters"]
print(f"FCN-8: {fcn8_size:,} parámetros, {dense1 / fcn8_size:.0%} en dense1")
assert dense1 == (7 * 7 * 512 + 1) * 4096  # a mano
assert dense1 > 0.7 * fcn8_size

# %% made_from="a4b7b7f3"
unet_layers, unet_size = decoder_of("unet", r"decoder\d_(up|skip|conv)|scores")
figures.show(
    unet_layers.reset_index(), "El decodificador de U-Net sobre VGG-16"
)
skips = 9 * (256 * 256 + 128 * 128 + 64 * 64)  # 3 × 3 × valores × salidas
print(f"U-Net: {unet_size:,} parámetros, {skips / unet_size:.0%} en saltos")
assert unet_layers.index.str.endswith("_skip").sum() == 3
assert fcn8_size > 5 * unet_size

# %% made_from="e1d4efb2"
# Adadelta, el optimizador de la tesis, guarda dos números más por parámetro.
gib, mib = 3 * 4 * fcn8_size / 2**30, 3 * 4 * unet_size / 2**20
print(f"en disco, 3 × 4 bytes cada uno: FCN-8 {gib:.1f} GB, U-Net {mib:.0f} MB")
assert (round(gib, 1), round(mib)) == (1.5, 141)  # como en la tesis

# %% [markdown] made_from="01814c85"
# FCN-8 tiene más parámetros, y una sola capa, `dense1`, contiene la mayoría: cada una de sus 4,096 salidas usa 7 × 7 lugares de 512 valores. Con los números del optimizador, se guardan tres números por cada parámetro. Así resultan los tamaños de archivo que da la tesis.
# Las conexiones de salto de U-Net necesitan pocos parámetros, y añaden el *dónde*: los valores del codificador a la mitad del tamaño van directamente a la última etapa del decodificador.
#
# ## 9. Entrenar una red pequeña
#
# La práctica debe funcionar con dos núcleos, así que la red es pequeña: su codificador es una MobileNet de un cuarto del ancho usual, y su decodificador es estrecho. Sus pesos iniciales son aleatorios. (Con conexión a internet, `weights="imagenet"` da un codificador de ancho completo que se entrenó con un millón de fotografías, como en la tesis.)
#
# :::{admonition} Predice
# :class: predict
# Las teselas de entrenamiento se aumentan y las de validación no. ¿Cuál de los dos conjuntos tiene la IoU media más alta en la primera época, y cuál al final?
# :::


# %% made_from="e47a3ecb"
def small(name, **options):
    """Una red pequeña con pesos aleatorios."""
    return segmentation.build(
        name, encoder="mobilenet", size=SIDE, seed=1, **options
    )


recipe = {
    "shrink": np.sqrt(image[..., 0].size / 35) / SIDE,  # px captura / tesela
    "epochs": 10 if here.small else 18,
    "patience": 24,  # más que las épocas: nunca para antes
    "learning_rate": 3e-3,
    "seed": 1,
    "progress": False,
    "classes": KEYS,
    "colours": CLASSES.colours,
    "notes": {"simulated": here.simulated},
}

# %% made_from="7706f663"
import time

began = time.perf_counter()
thin_unet = small("unet", **segmentation.SLIM)
unet = groves.fit(thin_unet, batches, **recipe)
minutes = (time.perf_counter() - began) / 60
print(f"{thin_unet.count_params():,} parámetros, {minutes:.1f} minutos")
assert thin_unet.count_params() < unet_size / 50

# %% made_from="184fb624"
shown = ("loss", "val_loss", "mean_iou", "val_mean_iou")
history = {name: unet.history[name] for name in shown}
fig = figures.learning_curves(history, study=here, title="Una U-Net pequeña")
figures.show(
    fig, "Pérdida e IoU media por época, de entrenamiento y de validación"
)

# %% made_from="f35eb788"
for name in ("mean_iou", "val_mean_iou"):
    first, *_, end = history[name]
    print(f"{name}: {first:.3f} en la primera época, {end:.3f} en la última")
print(f"se conserva: época {unet.notes['best_epoch']}, {unet.notes['verdict']}")
if full:
    assert max(history["val_mean_iou"]) > colour_iou.mean()
    assert history["mean_iou"][0] > history["val_mean_iou"][0]
    assert abs(history["mean_iou"][-1] - history["val_mean_iou"][-1]) < 0.1

# %% [markdown] made_from="f90a4c77"
# En el olivar simulado, el entrenamiento tiene la IoU media más alta en la primera época, y al final las dos son casi iguales. Las teselas de entrenamiento son más difíciles, porque se aumentan. Pero el conjunto de validación es una captura que muestra en gran parte el mismo terreno, así que no es una prueba.
#
# La última palabra impresa es el resultado de una regla de la propia tesis. Una ejecución es *valid* (válida) si las mejores exactitudes de entrenamiento y de validación difieren en 15 puntos como máximo. Si la IoU de validación de una clase queda por debajo de 0.1, decimos que hay subajuste (*underfit*), sea cual sea la exactitud.
#
# Una puntuación de validación baja en las primeras épocas no es necesariamente sobreajuste. La *normalización por lotes* (*batch normalisation*) usa la media de cada lote al entrenar, y una media móvil al predecir. La media móvil empieza en 0 y cambia un poco en cada paso; Keras usa normalmente un *momentum* de 0.99. ¿Cuánto queda del valor inicial en un entrenamiento tan corto como este?

# %% made_from="aa616788"
steps = len(batches["train"])
for momentum in (0.99, 0.9):
    left = [momentum ** (steps * n) for n in (1, recipe["epochs"])]
    print(
        f"momentum {momentum}: queda el {left[0]:.0%} del valor inicial ",
        end="",
    )
    print(f"después de una época, el {left[1]:.1%} después de todas")
norms = [n for n in thin_unet.layers if "Normalization" in type(n).__name__]
assert {layer.momentum for layer in norms} == {0.9}

# %% [markdown] made_from="cde28c40"
# Con 0.99, gran parte del valor inicial queda después de la primera época, y la validación usa esa media. `segmentation.build` usa 0.9, como comprueba la celda.
#
# :::{admonition} Un buen momento para una pausa
# :class: tip
# Aquí termina la primera mitad. Después de la pausa, ejecuta otra vez las celdas desde el principio. Vuelven a entrenar la red, lo que tarda unos minutos.
# :::
#
# ## 10. Hacer mapas de capturas enteras, y mirar los errores
#
# Una captura entera pasa por la red como teselas que se superponen, y sus probabilidades predichas se promedian. Hacemos mapas de todas las capturas: las de prueba sirven para las puntuaciones, las demás para contar los árboles.
#
# :::{admonition} Predice
# :class: predict
# ¿Dónde estarán los errores: dentro de las copas, en los bordes, en el suelo o en la hierba?
# :::

# %% made_from="5f61fe83"
import shutil

out = here.work / "maps"
shutil.rmtree(out, ignore_errors=True)  # mapas de una red anterior
began = time.perf_counter()
mapped = groves.predict(unet, captures, out, progress=here.bars)
chain = (time.perf_counter() - began) / len(captures)
print(f"{len(mapped)} mapas, {chain:.2f} s cada uno")
assert len(mapped) == len(captures)

# %% made_from="fe7bf914"
last = test[-1]
image, mask = groves.read(last)
predicted = np.asarray(Image.open(out / f"{last.name}.png"))
wrong = (predicted != mask) & (mask != groves.IGNORE)
errors = image // 2  # más oscura, para que se vean los errores
errors[wrong] = (255, 90, 200)  # rosa
print(f"{last.name}: {1 - wrong.mean():.1%} de los píxeles son correctos")
assert predicted.shape == mask.shape

# %% made_from="28a714af"
over = {
    "la predicción": CLASSES.paint(predicted),
    "la verdad": CLASSES.paint(mask),
    "los errores (rosa)": errors,
}
alt = f"{last.name} de la prueba, y encima"
figures.wipe(image, over, alt, classes=CLASSES, study=here)

# %% made_from="449e3691"
from scipy import ndimage

window = 2 * round(0.1 / metres) + 1  # píxeles: 10 cm a cada lado
at_edge = ndimage.maximum_filter(mask, window) != ndimage.minimum_filter(
    mask, window
)
parts = {"a menos de 10 cm de un borde": at_edge, "en otros lugares": ~at_edge}
parts |= {f"en {key}": mask == number for number, key in enumerate(TITLES)}
for part, where in parts.items():
    print(f"{part}: {wrong[where].mean():.1%} de los píxeles son incorrectos")
assert wrong[at_edge].mean() > wrong[~at_edge].mean()

# %% made_from="d743396e"
wrong_ground = np.bincount(predicted[wrong & (mask == GROUND)], minlength=3)
print(
    "el suelo mal clasificado se predijo como:",
    dict(zip(TITLES, wrong_ground.tolist(), strict=True)),
)
if full:
    assert wrong[mask == GROUND].mean() > wrong[mask == TREE].mean()
    assert wrong_ground.argmax() == GRASS

# %% [markdown] made_from="de2a3733"
# Mueve la línea, y elige la imagen de su lado derecho. Las proporciones impresas responden la pregunta: los errores son más frecuentes en los bordes que en otros lugares. En el olivar simulado son más frecuentes en el suelo que en las copas, y el suelo mal clasificado se predijo casi siempre como hierba. La hierba no tiene un contorno nítido: ni siquiera una persona puede dibujarlo con exactitud.
#
# ## 11. La IoU, a mano y con la biblioteca
#
# La superposición de la sección 3 tiene un nombre: *intersección sobre unión* (*intersection over union*, IoU) de una clase. Es el número de píxeles que tienen la clase en la verdad y en la predicción, dividido por el número de los que la tienen en al menos una. Con recuentos: correctos / (correctos + omitidos + falsos). La media de las clases es la IoU media. Si cada clase pesa según su proporción de los píxeles, es la IoU ponderada por frecuencia.
#
# :::{admonition} Predice
# :class: predict
# Una copa es un disco de 100 píxeles. La predicción tiene el mismo disco, desplazado de modo que los dos comparten 80 píxeles. ¿Cuál es su IoU? ¿Cuál es la exactitud en una imagen de 10,000 píxeles?
# :::

# %% made_from="fb5b27d4"
pixel = np.arange(10_000)
disc, shifted = pixel < 100, (pixel >= 20) & (pixel < 120)
disc_iou = overlap(disc, shifted, classes=2)[1]
accuracy = (disc == shifted).mean()
print(f"el disco desplazado: IoU {disc_iou:.2f}, exactitud {accuracy:.3f}")
assert np.isclose(disc_iou, 80 / (100 + 100 - 80))

# %% made_from="c9a1d50a"
from arsetlib import evaluation, wording

confusion = evaluation.Confusion.of(
    mask, predicted, TITLES, ignore=groves.IGNORE
)
fig = figures.confusion(
    confusion, study=here, title="Píxeles de una captura de prueba"
)
figures.show(fig, "Matriz de confusión de la captura de prueba")

# %% made_from="3f23d1e5"
by_hand = overlap(mask, predicted)
share = confusion.counts.sum(axis=1) / confusion.total
for key, one, two in zip(TITLES, by_hand, confusion.iou, strict=True):
    print(f"IoU de {key}: a mano {one:.4f}, con la biblioteca {two:.4f}")
print(f"media {confusion.mean_iou:.3f}, ", end="")
print(f"ponderada por frecuencia {confusion.frequency_weighted_iou:.3f}")
assert np.allclose(by_hand, confusion.iou)
assert np.isclose((share * by_hand).sum(), confusion.frequency_weighted_iou)

# %% [markdown] made_from="919a2bfd"
# La línea «el disco desplazado» responde las preguntas. La IoU es más estricta que la exactitud, porque no cuenta los muchos píxeles que no son copa ni en la verdad ni en la predicción.
# Para varias capturas, la biblioteca suma los *recuentos* y divide una sola vez. La media de las IoU de 35 teselas es otro número: una tesela con una sola rama cuenta tanto como una llena de árboles. Cuando leas un artículo, averigua cuál de los dos números da.
#
# ## 12. La exactitud engaña
#
# :::{admonition} Predice
# :class: predict
# Un mapa inútil muestra suelo donde hay árboles, y acierta en todo lo demás. ¿Cuál es su exactitud por píxel en esta captura? ¿Y en un olivar joven, donde las copas cubren el 5 % del terreno?
# :::


# %% made_from="96e99b4d"
def matrix(truth, predicted):
    """La matriz de confusión de un mapa."""
    return evaluation.Confusion.of(truth, predicted, KEYS, ignore=groves.IGNORE)


young = np.repeat([GROUND, TREE, GRASS], [60, 5, 35])  # 100 píxeles
compared = {
    "nuestra red": confusion,
    "sin árboles, esta captura": matrix(
        mask, np.where(mask == TREE, GROUND, mask)
    ),
    "sin árboles, olivar joven": matrix(
        young, np.where(young == TREE, GROUND, young)
    ),
}

# %% made_from="7caaac83"
table = pd.DataFrame(
    [(n, c.accuracy, c.mean_iou, c.iou[TREE]) for n, c in compared.items()],
    columns=["mapa", "exactitud por píxel", "IoU media", "IoU de árbol"],
)
figures.show(table, "Puntuaciones de un mapa sin un solo árbol")
assert table["exactitud por píxel"][2] == 0.95
assert table["IoU de árbol"].tolist()[1:] == [0, 0]
assert not full or table["IoU de árbol"][0] > 0.3

# %% [markdown] made_from="a13737e2"
# La segunda fila y la tercera responden las dos preguntas. Si hay pocos árboles, un mapa sin ningún árbol tiene una exactitud alta, y es inútil. Su IoU de árbol es cero.
#
# ## 13. Otra vez la fuga, ahora con la red
#
# El modelo que copia era un caso extremo. ¿Cuánto más altas son las puntuaciones de *nuestra* red en terreno que ha visto al entrenar?
#
# :::{admonition} Predice
# :class: predict
# Puntuamos todas las capturas y comparamos la IoU de cada una con la proporción de su terreno que ya aparece en el entrenamiento. ¿Aumenta la IoU con esa proporción? ¿En qué clase aumenta más?
# :::

# %% made_from="2c0f55f0"
scored = groves.evaluate(out, captures, progress=False).by_capture()
measures = ["mean_iou", *KEYS]
share_seen = [100 * seen[name] for name in scored.index]
points = {m: (share_seen, scored[m].to_numpy()) for m in measures}
title, unit = "IoU de cada captura", "terreno ya visto en el entrenamiento, %"
fig = figures.scatter(
    points, title, unit, "IoU", study=here, text=scored.index.tolist()
)
figures.show(
    fig, "IoU de cada captura según la proporción de su terreno ya visto"
)
assert np.isclose(scored.loc[last.name, "mean_iou"], confusion.mean_iou)

# %% made_from="5eb3e0c6"
known = np.array(share_seen) > 50
means = pd.DataFrame(
    {
        "casi todo visto": scored[known][measures].mean(),
        "casi todo nuevo": scored[~known][measures].mean(),
    }
)
gap = means["casi todo visto"] - means["casi todo nuevo"]
print(wording.shown(means.assign(difference=gap).round(3)).to_string())
assert abs(gap["mean_iou"]) < 1 - by_copy["vuelo"]  # la del modelo que copia
assert not full or gap["mean_iou"] > 0
assert not full or gap["tree"] < gap["grass"] < gap["ground"]

# %% [markdown] made_from="88bf5d13"
# La última columna responde la pregunta. En el olivar simulado la IoU es más alta en terreno ya visto, y la diferencia crece de árbol a hierba y de hierba a suelo. Es mucho menor que la del modelo que copia. La razón puede ser que la red es pequeña, se entrenó durante pocas épocas y vio teselas aumentadas. Una parte de la diferencia puede tener una causa distinta de la fuga: cada captura tiene su propia luz.
# FCN-8 sobre VGG-16 tiene muchas veces más parámetros y podría memorizar más; no lo hemos medido. La puntuación de una prueba con fuga no muestra cuánto ha memorizado una red. Por eso, elige primero la división.
#
# ## 14. Comparar
#
# Otras dos redes se entrenan con las mismas teselas, durante las mismas épocas y con el mismo codificador. *SegNet* es aquí una U-Net sin conexiones de salto; muestra qué aportan estas conexiones. FCN-8 tiene aquí capas densas estrechas.
#
# :::{admonition} Predice
# :class: predict
# ¿Cuál de las tres tiene los bordes más exactos, y cuál los menos exactos? Sin conexiones de salto, ¿baja más la IoU de árbol o la de hierba?
# :::

# %% made_from="2909e55f"
others = {
    "SegNet (sin saltos)": ("segnet", segmentation.SLIM),
    "FCN-8": ("fcn8", {"alpha": 0.25, "dense": 128}),
}
if here.small:
    del others["SegNet (sin saltos)"]
networks = {"U-Net": unet}
for title, (name, options) in others.items():
    networks[title] = groves.fit(small(name, **options), batches, **recipe)
print(f"{len(networks)} redes: {', '.join(networks)}")
assert all(n.classes == KEYS for n in networks.values())

# %% made_from="f229baa1"
tested = {
    title: groves.evaluate(network, test, progress=False)
    for title, network in networks.items()
}
ours = pd.concat([e.table(title) for title, e in tested.items()])
figures.show(
    ours.reset_index(), "Nuestras tres redes, probadas en terreno nuevo"
)
print(f"bordes más exactos: {ours['boundary_f1'].idxmax()}, ", end="")
print(f"menos exactos: {ours['boundary_f1'].idxmin()}")
if full:
    assert ours["boundary_f1"].idxmax() == "U-Net"
    assert ours["boundary_f1"].idxmin() == "SegNet (sin saltos)"
assert np.isclose(ours.loc["U-Net", "mean_iou"], confusion.mean_iou, atol=0.2)

# %% made_from="6e4975e0"
fig = figures.score_bars(
    {title: e.confusion for title, e in tested.items()},
    "iou",
    study=here,
    title="IoU de cada clase en la prueba",
)
figures.show(fig, "IoU de suelo, árbol y hierba de las redes pequeñas")
worst = ours.loc["U-Net", list(KEYS)] - ours[list(KEYS)].min()
print("mayor descenso frente a U-Net:", wording.shown(worst.round(3)).to_dict())
assert not full or worst["grass"] > worst["tree"]

# %% made_from="3f6c5bf5"
theirs = evaluation.published.olive_iou().reset_index()
figures.show(
    theirs,
    "La tesis: diez imágenes reales, 2020; 100 épocas; teselas de prueba de "
    "imágenes que el entrenamiento también vio",
)
assert set(KEYS) <= set(ours.columns) & set(theirs.columns)

# %% made_from="71d8a2b3"
by_side = theirs.groupby("side")["tree"]
print(wording.shown(by_side.agg(["min", "max"])).to_string())
least, most = by_side.min(), by_side.max()
assert least[384] - most[224] > 0.3  # una tesela mayor: todas mejoran
assert (most - least).max() < 0.05  # otra arquitectura: casi igual
assert most[512] - most[384] < 0.01

# %% [markdown] made_from="e1b627f8"
# Las líneas impresas responden las preguntas. En el olivar simulado, U-Net tiene los bordes más exactos. El *F1 de bordes* (*boundary F1*) los mide: la proporción de píxeles de borde predichos que están a tres píxeles o menos de un borde verdadero, y a la inversa. Sin conexiones de salto los bordes son los menos exactos, y la IoU de hierba baja más que la de árbol. Mira otra vez las máscaras: las copas son pocas y grandes, las manchas de hierba son muchas y pequeñas.
# No compares las dos tablas entre sí. La tesis tiene olivos reales, y probó con teselas de imágenes que estaban en el entrenamiento. Nosotros probamos en terreno nuevo, y nuestro entrenamiento fue mucho más corto.
# *Dentro* de una tabla sí puedes comparar. En la tesis, el tamaño de la tesela cambia la IoU de árbol mucho más que la arquitectura, y 512 apenas da más que 384: la última celda lo comprueba. En nuestra tabla una diferencia pequeña puede ser casualidad; el ejercicio 3 da un intervalo.
#
# :::{admonition} Ejercicio 3
# :class: exercise
# ¿Es casualidad una diferencia de 0.01? Una captura tiene pocos árboles, así que sortea *teselas*. Puntúa la prueba tesela por tesela, sortea mil veces 35 de las 35 teselas con reposición, y da un intervalo para la diferencia de dos redes.
# :::

# %% tags=["hide-cell"] made_from="ca28666e"
# Solución: cada sorteo toma las mismas teselas para las dos redes, de modo que
# una tesela difícil baja las dos puntuaciones.
cells = {}
true_tiles = groves.cut(mask, grid=GRID)
for title in ("U-Net", "FCN-8"):
    shutil.rmtree(here.work / title, ignore_errors=True)
    (path,) = groves.predict(
        networks[title], test[-1:], here.work / title, progress=False
    )
    tested_tiles = groves.cut(np.asarray(Image.open(path)), grid=GRID)
    cells[title] = np.stack(
        [
            evaluation.Confusion.of(t, p, KEYS, ignore=groves.IGNORE).counts
            for t, p in zip(true_tiles, tested_tiles, strict=True)
        ]
    )
rng = np.random.default_rng(1)
differences = []
for _ in range(1000):
    drawn = rng.integers(0, 35, 35)
    one, two = (
        evaluation.Confusion.from_counts(c[drawn].sum(0), KEYS).mean_iou
        for c in cells.values()
    )
    differences.append(one - two)
low, high = np.quantile(differences, [0.025, 0.975])
print(f"U-Net menos FCN-8: de {low:+.3f} a {high:+.3f} (95 %)")

# %% [markdown] made_from="a1325421"
# ## 15. ¿En tiempo real?
#
# El dron toma una captura cada dos segundos. La tesis midió 0.0571 s por tesela para su red más rápida en una tarjeta gráfica. Así, 35 teselas tardan unos dos segundos: justo a tiempo.
#
# :::{admonition} Predice
# :class: predict
# Nuestra red tiene menos del 2 % de los parámetros. ¿Tarda más o menos de dos segundos por captura en tu procesador? ¿Y si se incluye leer, reducir, promediar y escribir?
# :::

# %% made_from="59d6fefb"
costs = {
    title: groves.cost(network, repeats=2)
    for title, network in networks.items()
}
speed = pd.DataFrame.from_dict(costs, orient="index")
speed = speed.rename_axis("red").reset_index()
figures.show(
    speed, "Costo en esta máquina; una captura son 35 teselas, en lotes"
)
assert speed["parameters"].is_unique

# %% made_from="2967d2fb"
import json

between = json.loads(flight.read_text()).get("seconds_between_captures", 2)
alone = costs["U-Net"]["seconds_per_capture"]
one_by_one = 35 * costs["U-Net"]["seconds_per_tile"]
print(f"35 teselas, una a una: {one_by_one:.2f} s, en lotes {alone:.2f} s")
print(f"del archivo al mapa: {chain:.2f} s por captura")
print(f"tiempo entre capturas / tiempo hasta el mapa: {between / chain:.1f}")
assert alone < chain

# %% [markdown] made_from="7257b119"
# Las líneas impresas responden las dos preguntas para tu máquina. Si el último número es mayor que 1, el mapa está listo antes de que se tome la captura siguiente. La red es solo una parte del trabajo. También lleva tiempo abrir un JPEG de varios millones de píxeles, reducirlo, promediar las teselas que se superponen y ampliar el resultado. Los segundos *por tesela* no incluyen nada de esto. Mide el proceso completo, del archivo al mapa.
#
# ## 16. De píxeles a árboles
#
# ¿Cuántos árboles hay en la captura? Las copas vecinas se tocan, así que una mancha conexa puede contener varios árboles. La biblioteca calcula la distancia de cada píxel de árbol al borde de la copa: es máxima en el centro de una copa y pequeña donde dos copas se tocan. El método de líneas divisorias (*watershed*) parte de estos máximos y pone el límite entre dos copas donde esa distancia al borde es menor.
#
# :::{admonition} Predice
# :class: predict
# ¿Hay más manchas conexas o más copas? ¿Cuánto suma a cada número una mancha de tres píxeles equivocados?
# :::

# %% made_from="9f04f9f9"
patches = ndimage.label(predicted == TREE)[1]
radius = 0.5 / metres  # píxeles: la copa más pequeña que cuenta
crowns = groves.instances(predicted == TREE, radius)
true_crowns = groves.instances(mask == TREE, radius)
print(f"manchas conexas {patches}, copas {crowns.max()}")
print(f"copas en la máscara verdadera {true_crowns.max()}")
assert not (crowns[predicted != TREE]).any()
assert not full or abs(crowns.max() / true_crowns.max() - 1) < 0.25

# %% made_from="39ed226b"
pair = {
    "predicción": CLASSES.paint(predicted),
    "copas": figures.paint_instances(image, crowns),
}
fig = figures.panels(pair, classes=CLASSES, metres=metres, study=here)
figures.show(fig, "La máscara predicha, y cada copa de un color distinto")

# %% made_from="acb0c184"
speck = np.zeros((400, 400), bool)
speck[200, 200:203] = True
print("tres píxeles:", ndimage.label(speck)[1], "mancha,", end=" ")
print(groves.instances(speck, radius).max(), "copas")
assert groves.instances(speck, radius).max() == 0

# %% [markdown] made_from="0d8227f0"
# Dos efectos cambian el número de manchas: las copas que se tocan hacen una sola mancha de varios árboles, y unos pocos píxeles equivocados hacen una mancha sin árbol. Por eso puede ser menor o mayor que el número de copas; los números impresos muestran qué efecto es mayor aquí. Tres píxeles equivocados suman una mancha y ninguna copa, porque la biblioteca deja fuera las copas de menos de medio metro de radio.
#
# ## 17. Contar el olivar, cada árbol una sola vez
#
# :::{admonition} Predice
# :class: predict
# Con una superposición del 80 %, ¿cuántas capturas muestran el mismo árbol? ¿Cuántas veces mayor que el número de árboles es la suma de los recuentos de todas las capturas?
# :::

# %% made_from="261b90a0"
masks = {p.stem: np.asarray(Image.open(p)) for p in mapped}
single = [
    len(groves.count({name: mask}, flight=flight, tree=TREE))
    for name, mask in masks.items()
]
trees = groves.count(out, flight=flight, tree=TREE)
most_views = trees.trees["views"].max()
print(f"suma de las capturas: {sum(single)}, cada árbol una vez: {len(trees)}")
print(f"capturas que muestran un mismo árbol: hasta {most_views}")
assert sum(single) >= len(trees)

# %% [markdown] made_from="650b1c47"
# Las dos líneas impresas responden las preguntas: la suma cuenta un árbol una vez por cada captura que lo muestra. La biblioteca calcula el lugar de cada detección en el terreno, a partir de la posición y el rumbo del dron en `flight.json`. Las detecciones de varias capturas que están a menos de un radio de copa se unen.
# ¿Es correcto el recuento? Los lugares verdaderos están en `trees.geojson`; sin ese archivo usamos las copas de tus máscaras.

# %% made_from="26dbfff1"
true_trees = here.folder / "trees.geojson"
if not true_trees.exists():
    true_trees = groves.count(captures, flight=flight, tree=TREE).trees
score = trees.score(true_trees)
print(
    f"verdaderos: {score['truth']}, error de recuento {score['count_error']:+.1%}"
)
print(
    f"precisión {score['precision']:.2f}, exhaustividad {score['recall']:.2f}"
)
if full:
    assert abs(score["count_error"]) < 0.25

# %% [markdown] made_from="b0146fe0"
# A mano: un árbol verdadero cuenta como encontrado si el centro de una copa detectada está dentro de su radio. La biblioteca es más estricta: empareja cada árbol verdadero con una sola detección, así que una segunda detección en la misma copa es falsa.


# %% tags=["hide-input"] made_from="0b3e1cd3"
def places_of(truth):
    """(N, 3) x, y y radio de los árboles verdaderos, m."""
    if isinstance(truth, pd.DataFrame):
        return truth[["x", "y", "radius"]].to_numpy()
    rows = json.loads(truth.read_text())["features"]
    return np.array(
        [
            (*r["geometry"]["coordinates"][:2], r["properties"]["radius"])
            for r in rows
        ]
    )


# %% made_from="f9bdf1bc"
places = places_of(true_trees)
xy = trees.trees[["x", "y"]].to_numpy()
apart = np.hypot(*(places[:, None, :2] - xy).transpose(2, 0, 1))
within = apart < places[:, 2:]  # (verdadero, detectado)
hit, false = within.any(1), ~within.any(0)
print(f"a mano: {hit.sum()} encontrados, {(~hit).sum()} omitidos, ", end="")
print(f"{false.sum()} donde no hay árbol")
assert abs(hit.mean() - score["recall"]) < 0.15
assert (~false).mean() >= score["precision"]

# %% made_from="fd5cef23"
groups = {
    "encontrado": places[hit, :2].T,
    "omitido": places[~hit, :2].T,
    "ahí no hay árbol": xy[false].T,
}
fig = figures.scatter(
    groups,
    "Árboles en el terreno",
    "x, m",
    "y, m",
    study=here,
    equal=True,
    height=620,
)
figures.show(
    fig, "Árboles en el terreno: encontrados, omitidos, y detectados sin árbol"
)

# %% [markdown] made_from="bcead0f4"
# Un error de recuento por sí solo no basta: diez árboles omitidos y diez falsos dan un error de cero. Por eso damos también la precisión (qué proporción de las detecciones son árboles) y la exhaustividad (qué proporción de los árboles se encontró).
# El conjunto de entrenamiento muestra una parte de este terreno. No muestra nada del terreno de prueba:

# %% made_from="e4b2c0fd"
new_ground = {c.name: masks[c.name] for c in test}
clean_trees = groves.count(new_ground, flight=flight, tree=TREE)
counts = {"vuelo entero": trees, "prueba, terreno nuevo": clean_trees}
summary = pd.DataFrame.from_dict(
    {n: c.summary() | c.score(true_trees) for n, c in counts.items()},
    orient="index",
).rename_axis("terreno")
print(f"en terreno nuevo: {len(clean_trees)} árboles, ", end="")
print(f"error de recuento {summary['count_error'].iloc[1]:+.1%}")

# %% made_from="65bf44e9"
columns = ["truth", "trees", "count_error", "precision", "recall"]
columns += ["area_ha", "canopy_cover", "canopy_m2_per_ha"]
figures.show(
    summary[columns].reset_index(),
    "Árboles y dosel, en todo el vuelo y en terreno nuevo",
)
assert clean_trees.area_ha < trees.area_ha
assert np.isclose(trees.canopy_m2_per_ha, 1e4 * trees.cover)

# %% made_from="7735adee"
for file in (
    trees.geojson(here.work / "trees.geojson"),
    trees.csv(here.work / "trees.csv"),
):
    print(f"escrito: {file.name}, {file.stat().st_size / 1e3:.0f} kB")
assert len(pd.read_csv(here.work / "trees.csv")) == len(trees)

# %% [markdown] made_from="a4f26943"
# La *cobertura del dosel* es la proporción del terreno que está bajo las copas. No necesita copas separadas, solo píxeles de árbol, y cada lugar del terreno se cuenta una vez.
# Un SIG puede abrir los archivos; sus coordenadas son metros en el sistema propio del vuelo.
#
# :::{admonition} Ejercicio 4
# :class: exercise
# Varias capturas ven un árbol que está en medio del vuelo. `groves.count(…, agree=0.5)` conserva los árboles que encontró al menos la mitad de esas capturas. ¿Qué pasa con la precisión, y qué con la exhaustividad? Prueba 0.25, 0.5 y 0.8.
# :::

# %% tags=["hide-cell"] made_from="ee37ccb3"
# Solución: una proporción mayor quita también árboles verdaderos que la red
# detecta en pocas capturas. Quita árboles falsos que aparecen en una sola
# captura; los falsos que aparecen en todas las capturas quedan.
for agree in (0, 0.25, 0.5, 0.8):
    agreed = groves.count(out, flight=flight, tree=TREE, agree=agree)
    agreed = agreed.score(true_trees)
    print(
        f"agree {agree}: {agreed['trees']} árboles, "
        f"precisión {agreed['precision']:.2f}, exhaustividad {agreed['recall']:.2f}"
    )

# %% [markdown] made_from="9ec9348f"
# ## Lo que has aprendido
#
# - Una máscara contiene un número de clase para cada píxel: no la promedies, no la guardes como JPEG. El color por sí solo no basta para hacer una máscara: la sombra es tan oscura como las hojas, y la hierba seca parece suelo.
# - Una captura se corta en teselas del tamaño de la red; `stitch(cut(x))` es x. Al predecir, se promedian las probabilidades de las teselas que se superponen. El aumento de datos mueve juntas la imagen y la máscara; sus factores necesitan límites.
# - Las teselas relacionadas van en el mismo conjunto: copias de una tesela, teselas de una captura, capturas del mismo terreno. Un modelo que solo copia muestra cuánta fuga tiene una división.
# - Las conexiones de salto de U-Net añaden el *dónde* con pocos parámetros; una sola capa de FCN-8 tiene la mayoría de los suyos.
# - La IoU de una clase no cuenta los píxeles que ni la verdad ni la predicción dan a la clase. La exactitud cuenta todos los píxeles, así que un mapa sin árboles puede tener una exactitud alta.
# - Mide el tiempo del proceso completo, del archivo al mapa. Cuenta cada árbol una sola vez, y da la precisión y la exhaustividad junto al error de recuento.
#
# ## ¿Y si…?
#
# - **¿… tengo mis propias imágenes?** Ponlas en `images/` y sus máscaras en `masks/`, como números de clase, como colores de GIMP, como LabelMe o COCO. `arset groves check FOLDER` indica cada par que no coincide y cada clase que nunca aparece. Después cambia `source` en la sección 1.
# - **¿… no tengo `flight.json`?** Esta práctica lo necesita; la biblioteca no. Deja fuera capturas hasta que no se superpongan, divide por captura y cuenta con `metres_per_pixel=…`. O toma las posiciones del mosaico que hace un programa de fotogrametría.
# - **¿… tengo una tarjeta gráfica?** Sube `alpha` a 1, usa `size=384` y entrena las 100 épocas de la tesis: `arset groves train` lo hace, y se puede reanudar después de una interrupción. En la tesis, la IoU de árbol mejoró más con 384.
# - **¿… quiero exactamente los modelos de la tesis?** El extra `arsetlib[keras-segmentation]` instala su biblioteca, y `arsetlib.models.keras_segmentation` hace que funcione con Keras 3.
# - **¿… tengo otro olivar con pocas etiquetas?** `weights=unet` inicia una red de otro tamaño con el codificador de esta. Después, sigue entrenándola con unas pocas capturas etiquetadas.
# - **¿… la cámara tiene una banda de infrarrojo cercano?** `channels=4` construye una red para cuatro bandas; dale tus propios lotes, porque `groves.batches` lee tres. Una regla de color puede entonces usar también el NDVI.
# - **¿… quiero contar aceitunas, no árboles?** El método es el mismo, con frutos marcados en fotos de cerca. Ahí la dificultad es que las hojas tapan los frutos.
