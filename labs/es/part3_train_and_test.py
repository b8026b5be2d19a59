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

# %% [markdown] made_from="34eabbe7"
# # Práctica 3 · De los lotes a un mapa puesto a prueba
#
# :::{admonition} De un vistazo
# :class: lab-header
# **Pregunta.** ¿Puede un modelo reconocer un cultivo mientras todavía crece en la parcela? ¿Y cómo se averigua si su respuesta es fiable?
#
# **Producto.** Un modelo entrenado con su escalador y su leyenda, un mapa que el modelo predice, y puntuaciones que dicen dónde y cuándo el mapa es fiable.
#
# **Al terminar sabrás**
# - construir una red pequeña en Keras, contar sus parámetros y decir qué imágenes no puede ver;
# - decir qué hacen una pérdida, un gradiente y un optimizador;
# - entrenar con *callbacks*, leer las curvas y distinguir el subajuste del sobreajuste;
# - buscar hiperparámetros sin usar la prueba;
# - probar por clase, por fecha y por lugar, y reconocer una puntuación demasiado buena para ser cierta;
# - comparar una red con un bosque aleatorio y con un modelo que siempre da la misma respuesta.
#
# **Tiempo.** Unos 120 minutos en dos mitades, con una pausa antes de la sección 10. **Necesitas** la práctica 2, o saber qué es un lote (*batch*) de muestras. No hace falta tarjeta gráfica.
# :::
#
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

# %% [markdown] made_from="21a8f082"
# ## 1. Toma la tabla y reserva un área para la prueba
#
# La práctica usa la tabla de las prácticas 1 y 2. Si todavía no hay tabla, la celda la hace; tarda unos minutos, una sola vez.
#
# :::{admonition} Datos simulados
# :class: simulated
# Si no cambias la línea, los datos no vienen de un satélite: son el delta simulado de la práctica 1. Sus figuras dicen *simulado*. Una puntuación con estos datos muestra cómo funciona el método. No muestra cuán bien separa un modelo cultivos reales.
# :::

# %% made_from="82300254"
from arsetlib import lab

source = "simulated"  # o "real", o tu archivo de estudio, "mine.toml"
here = lab.place(source)
delta = source == "simulated" and not here.small  # lo usan algunos assert
study, box = here.study, here.box
table = here.table()
print(here)
print(f"{table.num_rows:,} filas de {len(study.bands)} bandas")

# %% [markdown] made_from="b4326871"
# La tabla se divide por año y bloque, como en la práctica 2, o solo por bloque si el estudio tiene menos de tres años. Haremos un mapa de un área, el *recuadro*. Si el estudio tiene más áreas, todo el recuadro pertenece a la prueba. Si son al menos cinco, también pertenece a la prueba una de las otras. Así el modelo no ve en el entrenamiento ningún píxel del recuadro, en ningún año.

# %% made_from="af6e73ac"
import numpy as np

from arsetlib import samples

others = [a.key for a in study.areas if a != box]
held_out = [box.key, *others[4:5]] if others else []
by = "year and block" if len(study.years) > 2 else "block"
sides = samples.split(table, study, by=by, held_out=held_out)

# %% made_from="a977dc1b"
areas_in = {s: set(r.column("area").astype(str)) for s, r in sides.items()}
for side, rows in sides.items():
    years = np.unique(rows.column("year")).tolist()
    print(f"{side}: {len(rows):,} filas de {years}")

assert box.key in areas_in["test"]
assert not set(held_out) & (areas_in["train"] | areas_in["validation"])

# %% made_from="ee85fda4"
T, C = study.season.steps, len(study.channels)
K, names = len(study.legend.classes), study.legend.names()
print(f"una muestra: {T} intervalos × {C} bandas → una de {K} clases")
assert study.season.window_days == T * study.season.step_days

# %% [markdown] made_from="ea63662a"
# ## 2. Una red pequeña, a mano
#
# Keras es una biblioteca para redes. Esta práctica usa estos módulos:
#
# | módulo | qué contiene | aquí |
# |---|---|---|
# | `keras.models` | cómo conectar capas, entrenar y guardar | `Sequential`, `fit`, `save` |
# | `keras.layers` | las operaciones por las que pasa una muestra | `Conv1D`, `MaxPooling1D`, `Flatten`, `Dense`, `Dropout` |
# | `keras.losses` | cuán equivocada está una respuesta, en un número | entropía cruzada categórica |
# | `keras.optimizers` | cómo cambian los parámetros para que baje la pérdida | SGD, RMSprop, Adam |
# | `keras.metrics` | puntuaciones que leen las personas | `CategoricalAccuracy` |
# | `keras.callbacks` | lo que se hace entre lotes y entre épocas | `ModelCheckpoint`, `BackupAndRestore`, `TensorBoard`, `EarlyStopping`, `LearningRateScheduler`, `LambdaCallback` |
#
# Las diapositivas del curso original construyen esta red para 20 intervalos de 12 bandas. Un *núcleo* (*kernel*) es un pequeño conjunto de pesos que se mueve a lo largo de la serie y combina cinco intervalos cada vez. El *pooling* conserva el mayor de cada cinco resultados. Dos capas *densas* convierten el resto en clases.
#
# :::{admonition} Predice
# :class: predict
# La primera capa tiene tres núcleos, cada uno de 5 intervalos × 12 bandas y una constante. ¿Cuántos parámetros tiene esta capa? ¿Y toda la red?
# :::

# %% made_from="23261f82"
import keras
import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # sin consejos de velocidad
layers = keras.layers


def toy(padding="valid", steps=20):
    """La red pequeña de las diapositivas."""
    return keras.Sequential(
        [
            layers.Input((steps, 12)),  # (B, 20, 12)
            layers.Conv1D(3, 5, padding=padding),  # (B, 16, 3)
            layers.MaxPooling1D(5),  # (B, 3, 3)
            layers.Flatten(),  # (B, 9)
            layers.Dense(10, activation="relu"),  # (B, 10)
            layers.Dense(6, activation="softmax"),  # (B, 6)
        ]
    )


# %% made_from="8b95dbf4"
from arsetlib import figures, maps, models, wording

summary = models.layer_table(toy())
figures.show(summary, "La red pequeña: salida y parámetros de cada capa")
print(f"{summary['parameters'].sum()} parámetros")

# %% made_from="e6fd855b"
by_hand = [3 * (5 * 12 + 1), 0, 0, 10 * (9 + 1), 6 * (10 + 1)]
print("a mano:", by_hand)
assert summary["parameters"].tolist() == by_hand
in_library = models.build("toy", steps=20, bands=12, classes=6)
assert in_library.count_params() == sum(by_hand)

# %% [markdown] made_from="3af9e64b"
# La tabla responde la pregunta: el primer número es el de la capa, y la suma impresa es el de la red. Una convolución usa los mismos pocos parámetros a lo largo de toda la serie. Las formas no incluyen el lote, porque un lote puede tener cualquier número de muestras.
# Algunas diapositivas hablan de seis clases y otras de siete. Lo correcto es siete: con seis unidades de salida faltaría la unidad de una de las clases, y ningún error lo diría.
#
# :::{admonition} Ejercicio 1
# :class: exercise
# Cuenta antes de ejecutar: ¿cuántos parámetros tiene la red pequeña para ventanas de 24 intervalos y 7 clases? ¿Y para ventanas de 180 días en intervalos de 5?
# :::

# %% tags=["hide-cell"] made_from="3edb31c4"
# Solución: solo cambian las capas densas. 24 intervalos → 20 → 4 × 3 = 12.
for steps in (24, 180 // 5):
    flat = (steps - 4) // 5 * 3
    mine = 183 + 10 * (flat + 1) + 7 * (10 + 1)
    print(f"{steps} intervalos: {mine} parámetros")
    built = models.build("toy", steps=steps, bands=12, classes=7)
    assert built.count_params() == mine

# %% [markdown] made_from="72fa3ebe"
# ## 3. La trampa del relleno
#
# `padding="valid"` es el valor por defecto de Keras: el núcleo se queda dentro de la serie, así que en 20 intervalos un núcleo de cinco cabe en 16 posiciones. El *pooling* de cinco en cinco usa 15 de estas 16 posiciones y descarta la última.
#
# :::{admonition} Predice
# :class: predict
# Sustituye por ruido la imagen *más reciente* de la ventana, el intervalo 20. ¿Cuánto cambia la respuesta de la red pequeña?
# :::

# %% made_from="0da14640"
import pandas as pd


def reach(model):
    """(intervalos,) El mayor cambio al sustituir un intervalo."""
    rng = np.random.default_rng(0)
    steps, bands = model.input_shape[1:]
    x, other = rng.normal(size=(2, 500, steps, bands)).astype("f4")
    before, largest = model(x), []
    for step in range(steps):
        changed = x.copy()
        changed[:, step] = other[:, step]
        largest.append(float(np.abs(model(changed) - before).max()))
    return pd.Series(largest, range(1, steps + 1))


# %% made_from="de959e03"
keras.utils.set_random_seed(1)
seen_by = {f"relleno {p}": reach(toy(p)) for p in ("valid", "same")}
seen_by = pd.DataFrame(seen_by)
fig = figures.lines(
    seen_by,
    "Efecto de cada intervalo en la respuesta",
    "intervalo que se sustituye (20 es el más reciente)",
    "mayor cambio de una probabilidad",
)
figures.show(fig, "Cambio de la respuesta según el intervalo, con dos rellenos")

assert seen_by["relleno valid"][20] == 0
assert (seen_by["relleno same"] > 0).all()

# %% [markdown] made_from="86aeef92"
# La respuesta no cambia nada. Un solo resultado de la convolución usa la imagen más reciente, y el *pooling* lo descarta. Ningún mensaje lo dice. Un mapa a mitad de temporada necesita esa imagen. `padding="same"` añade ceros en los dos extremos; entonces cada intervalo tiene un efecto, como muestra la segunda línea.
#
# La misma red enseña otra cosa. Un núcleo combina cinco intervalos de cinco días, así que usa 25 días. Ese es su *campo receptivo*. Las capas más profundas tienen campos receptivos más grandes:


# %% made_from="5019222c"
def receptive_field(stack):
    """Intervalos que usa un resultado, tras capas (núcleo, salto)."""
    steps, apart = 1, 1
    for kernel, stride in stack:
        steps += (kernel - 1) * apart
        apart *= stride
    return steps


# %% made_from="3a2e7991"
stacks = {
    "núcleo de la red pequeña": [(5, 1)],
    "pooling de la red pequeña": [(5, 1), (5, 5)],
    "dos núcleos del original": [(5, 1), (5, 1)],
    "pooling del original": [(5, 1), (5, 1), (2, 2)],
}
days = {name: 5 * receptive_field(stack) for name, stack in stacks.items()}
print("\n".join(f"{name}: {value} días" for name, value in days.items()))
assert days["núcleo de la red pequeña"] == 25

# %% [markdown] made_from="2eb804be"
# Comprueba la fórmula. Toma una serie de ceros, pon en 1 un intervalo tras otro, y mira qué intervalos cambian el primer resultado de las dos convoluciones del original:

# %% made_from="11a31ff0"
two = keras.Sequential([layers.Conv1D(1, 5), layers.Conv1D(1, 5)])
one_at_a_time = np.eye(25, dtype="f4")[:, :, None] * np.ones(12, "f4")
first_place = np.asarray(two(one_at_a_time))[:, 0, 0]  # (25,)
print("intervalos que lo cambian:", np.flatnonzero(first_place) + 1)
assert 5 * np.count_nonzero(first_place) == days["dos núcleos del original"]

# %% made_from="138df067"
unseen = {}
for steps in (25, 24):
    model = models.build("original", steps=steps, bands=12, classes=7)
    changes = reach(model)
    unseen[steps] = changes.index[changes == 0].tolist()
    print(f"{steps} intervalos: la red del original no usa {unseen[steps]}")
assert unseen == {25: [25], 24: []}

# %% [markdown] made_from="d89b82c5"
# La red del curso original tiene el mismo defecto: no usa el último de sus 25 intervalos. Allí no hizo daño, porque el cargador hacía un intervalo de más (práctica 2, sección 13) y el que se perdía estaba fuera de la ventana. Un error anuló el efecto del otro. Con 24 intervalos la misma red los usa todos, como muestra la última línea. El número de intervalos decide si se pierde una imagen.
#
# ## 4. ¿Cuán equivocada está una respuesta?
#
# La última capa da un número por clase, un *logit*. Puede tener cualquier valor. `softmax` convierte los logits en números positivos que suman 1. La *entropía cruzada* usa solo la probabilidad p de la clase verdadera: la pérdida es −log p.
#
# :::{admonition} Predice
# :class: predict
# Una red que no ha aprendido nada da a cada clase la misma probabilidad. ¿Cuál es su pérdida con siete clases? ¿Qué respuesta tiene la pérdida mayor: esta, o una que está segura y se equivoca?
# :::


# %% made_from="4b482ede"
def softmax(logits):
    shares = np.exp(logits - logits.max(-1, keepdims=True))  # sin desborde
    return shares / shares.sum(-1, keepdims=True)


def cross_entropy(truth, shares):
    return -np.log((truth * shares).sum(-1))


# %% made_from="e79a4401"
logits = np.array([[0] * 7, [0, 0, 0, 6, 0, 0, 0], [0, 6, 0, 0, 0, 0, 0]], "f4")
truth = np.tile(np.eye(7, dtype="f4")[3], (3, 1))  # clase 3, las tres
answers = pd.DataFrame(
    {
        "respuesta": ["clases iguales", "segura, correcta", "segura, errónea"],
        "probabilidad de la verdad": softmax(logits)[:, 3],
        "pérdida": cross_entropy(truth, softmax(logits)),
    }
)
figures.show(answers, "Tres respuestas sobre un píxel, y su pérdida")

# %% made_from="53af1c52"
theirs = keras.losses.categorical_crossentropy(truth, softmax(logits))
print("Keras:", np.round(theirs, 3))
assert np.allclose(answers["pérdida"], theirs, atol=1e-5)
assert np.isclose(answers["pérdida"][0], np.log(7))
assert answers["pérdida"].idxmax() == 2

# %% [markdown] made_from="8edf8c39"
# Las probabilidades iguales dan una pérdida de log 7, como en la primera fila. La respuesta segura pero equivocada tiene la mayor pérdida de las tres.
#
# ¿En qué dirección deben cambiar los logits? Lo dice el *gradiente* de la pérdida: la pérdida baja más rápido en la dirección contraria.

# %% made_from="c9509227"
with tf.GradientTape() as tape:
    z = tf.Variable(logits)
    loss = tf.nn.softmax_cross_entropy_with_logits(truth, z)
gradient = tape.gradient(loss, z).numpy()
print("segura, errónea:", gradient[2].round(2))
assert np.allclose(gradient, softmax(logits) - truth, atol=1e-6)

# %% [markdown] made_from="3686f582"
# El gradiente es *respuesta menos verdad*. Por eso el entrenamiento baja el logit de la clase equivocada y sube el de la correcta, cada uno en proporción a su error. `fit` calcula estos gradientes para todas las capas, lote por lote.
#
# ## 5. Optimizadores
#
# Un *optimizador* convierte gradientes en cambios de los parámetros. Para ver cómo, toma un modelo de dos parámetros, cuya pérdida se puede dibujar. Cada par de parámetros es un punto, y las curvas de nivel muestran la pérdida en él. El optimizador mueve el punto, paso a paso, hacia donde la pérdida es menor. Comparamos cinco optimizadores; `m` guarda lo que un optimizador conserva de sus pasos anteriores.
#
# :::{admonition} Predice
# :class: predict
# La pérdida tiene un mínimo global, al final de un valle largo y estrecho, y un pequeño mínimo local en el camino. ¿Qué optimizadores terminan en el mínimo local?
# :::


# %% tags=["hide-input"] made_from="fa32eb89"
def loss_at(x, y):
    """La pérdida: un valle con un mínimo local."""
    dip = np.exp(-((x + 4) ** 2 + (y - 0.3) ** 2) / 0.5)
    return x**2 / 20 + y**2 - 0.7 * dip


def slope(x, y):
    """(2,) Gradiente de la pérdida."""
    dip = 2.8 * np.exp(-((x + 4) ** 2 + (y - 0.3) ** 2) / 0.5)
    return np.array([x / 10 + dip * (x + 4), 2 * y + dip * (y - 0.3)])


before, after = loss_at(-7.0, 2.0 - 1e-5), loss_at(-7.0, 2.0 + 1e-5)
assert np.isclose(slope(-7.0, 2.0)[1], (after - before) / 2e-5)


# %% made_from="52fa4d74"
def sgd(g, m, t, rate):
    return -rate * g


def momentum(g, m, t, rate):
    m[0] = 0.9 * m[0] - rate * g
    return m[0]


def adagrad(g, m, t, rate):
    m[1] += g**2
    return -rate * g / np.sqrt(m[1] + 1e-7)


# %% made_from="b4870e1b"
def rmsprop(g, m, t, rate):
    m[1] = 0.9 * m[1] + 0.1 * g**2
    return -rate * g / np.sqrt(m[1] + 1e-7)


def adam(g, m, t, rate):
    m[0] = 0.9 * m[0] + 0.1 * g
    m[1] = 0.999 * m[1] + 0.001 * g**2
    unbias = np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return -rate * unbias * m[0] / (np.sqrt(m[1]) + 1e-7)


# %% made_from="1a93678e"
def descend(rule, rate, steps=80):
    """(pasos + 1, 2) Los parámetros después de cada paso."""
    path, m = [np.array([-7.0, 2.0])], np.zeros((2, 2))
    for t in range(1, steps + 1):
        path.append(path[-1] + rule(slope(*path[-1]), m, t, rate))
    return np.array(path)


settings = {
    "SGD": (sgd, 0.3),
    "momentum": (momentum, 0.1),
    "Adagrad": (adagrad, 0.5),
    "RMSprop": (rmsprop, 0.1),
    "Adam": (adam, 0.4),
}
paths = {name: descend(*how) for name, how in settings.items()}

# %% tags=["hide-input"] made_from="3c6ed315"
x, y = np.linspace(-8, 4, 97).round(3), np.linspace(-2.6, 2.6, 53).round(3)
fig = figures.empty_figure(
    "Los caminos de cinco optimizadores",
    "primer parámetro",
    "segundo parámetro",
)
fig.add_contour(
    x=x, y=y, z=loss_at(*np.meshgrid(x, y)).round(2), colorscale="Greys",
    contours={"start": 0, "end": 5, "size": 0.2}, showscale=False,
    reversescale=True, opacity=0.35, hoverinfo="z", name="pérdida",
)  # fmt: skip


def shown_after(t):
    """Lo que muestra la figura después de t pasos."""
    past = [path[: t + 1].round(3) for path in paths.values()]
    sizes = [[3] * t + [13]] * len(past)
    return {
        "x": [p[:, 0] for p in past], "y": [p[:, 1] for p in past],
        "marker.size": sizes,
    }  # fmt: skip


ends = shown_after(80)
for i, name in enumerate(paths):
    fig.add_scatter(
        x=ends["x"][i], y=ends["y"][i], name=name, mode="lines+markers",
        line={"color": figures.LINES[i]}, marker={"size": ends["marker.size"][i],
        "symbol": i, "color": figures.LINES[i], "opacity": 1},
    )  # fmt: skip
steps = [
    {
        "label": str(t),
        "method": "restyle",
        "args": [shown_after(t), list(range(1, 6))],
    }
    for t in (0, 1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 30, 40, 60, 80)
]
fig.update_layout(
    sliders=[{"steps": steps, "active": 15, "pad": {"t": 55},
              "currentvalue": {"prefix": "pasos: "}}],
    legend={"yref": "paper", "y": 1.02, "yanchor": "bottom"}, height=520,
)  # fmt: skip
figures.show(
    fig, "Caminos de cinco optimizadores en una pérdida con mínimo local"
)

# %% made_from="59a13960"
local = [name for name, path in paths.items() if path[-1, 0] < -3]
print("en el mínimo local:", local)
assert local == ["SGD", "Adagrad", "RMSprop"]

# %% [markdown] made_from="a79ee791"
# Mueve el deslizador. SGD, Adagrad y RMSprop terminan en el mínimo local, como dice la línea impresa. *Momentum* suma a cada paso una parte del anterior, así que sale del mínimo local. Adam hace lo mismo, y además ajusta por separado la escala del paso de cada parámetro.
#
# Si reciben los mismos gradientes, ¿dan los optimizadores de Keras los mismos pasos?

# %% made_from="934bb62c"
optimizers = keras.optimizers
theirs = {
    "SGD": optimizers.SGD(0.3),
    "momentum": optimizers.SGD(0.1, momentum=0.9),
    "Adagrad": optimizers.Adagrad(0.5, initial_accumulator_value=0.0),
    "RMSprop": optimizers.RMSprop(0.1),
    "Adam": optimizers.Adam(0.4),
}

# %% made_from="5ceabfd8"
for name, optimizer in theirs.items():
    place = keras.Variable([-7.0, 2.0])
    for _ in range(20):
        g = slope(*place.numpy().astype(float)).astype("f4")
        optimizer.apply([tf.constant(g)], [place])
    apart = np.abs(place.numpy() - paths[name][20]).max()
    print(f"{name}: distancia {apart:.0e} después de 20 pasos")
    assert apart < 5e-3

# %% [markdown] made_from="cd7d84bd"
# Sí, salvo redondeo. Una red real difiere en dos cosas: tiene miles de parámetros, y cada gradiente sale de un solo lote, así que tiene ruido.
#
# :::{admonition} Ejercicio 2
# :class: exercise
# La tasa de aprendizaje también decide el camino. Ejecuta SGD con tasas de 0.05, 0.9 y 1.1, y describe cada camino. ¿Por qué cambia el comportamiento en 1?
# :::

# %% tags=["hide-cell"] made_from="bf7c70b2"
# Solución
for rate in (0.05, 0.9, 1.1):
    x, y = descend(sgd, rate)[-1]
    print(f"tasa {rate}: termina en ({x:.3g}, {y:.3g})")
# 0.05 termina en el mínimo local. 0.9 sale de él y salta de un lado del valle
# al otro, cada vez más cerca del centro. Lejos del mínimo local, un paso
# sustituye y por (1 − 2 × tasa) × y. Con una tasa mayor que 1, ese factor es
# menor que −1, así que y y la pérdida crecen. Si tu pérdida crece, baja la tasa.

# %% [markdown] made_from="6b9d54b0"
# ## 6. Varios modelos para elegir
#
# La biblioteca tiene varios modelos con la misma entrada y la misma salida. La entrada es una ventana de intervalos y bandas; la salida, una probabilidad para cada clase. Algunos modelos usan además qué intervalos se *vieron* (*seen*) y el día del año.
#
# :::{admonition} Predice
# :class: predict
# ¿Cuál tiene más parámetros: dos convoluciones (`original`), tres convoluciones antes de una capa densa ancha (`tempcnn`), una red recurrente (`lstm`) o la atención (`transformer`)?
# :::

# %% made_from="b9b5fce0"
known = models.describe()
figures.show(
    known.reset_index().drop(columns="what"),
    "Los modelos y sus parámetros: 24 intervalos, 12 bandas, 7 clases",
)
asked = known.loc[["original", "tempcnn", "lstm", "transformer"], "parameters"]
print("más parámetros:", asked.astype(int).idxmax())
assert asked.astype(int).idxmax() == "tempcnn"

# %% made_from="a8581eb4"
shape = {"steps": T, "bands": C, "classes": K}
padding = {"padding": "valid" if T >= 10 else "same"}  # necesita 10 intervalos
network = models.build("original", **shape, **padding)
flat = network.layers[-2].kernel.shape[0]  # entradas de la primera capa densa
original = [64 * (5 * C + 1), 64 * (5 * 64 + 1), 50 * (flat + 1), K * 51]
print("parámetros del original, capa por capa:", original)
assert sum(original) == network.count_params()

# %% made_from="70cb5b81"
tempcnn = models.build("tempcnn", steps=24, bands=12, classes=7)
in_layers = models.layer_table(tempcnn)
three = in_layers.sort_values("parameters").tail(3)
print(wording.shown(three).to_string(index=False))
largest = in_layers.loc[in_layers["parameters"].idxmax(), "layer"]
assert largest.startswith("dense")
assert in_layers["parameters"].max() > in_layers["parameters"].sum() / 2

# %% [markdown] made_from="698b4c0a"
# TempCNN es la que tiene más, y la última línea muestra por qué: más de la mitad de sus parámetros están en una sola capa densa, no en sus convoluciones. Con más parámetros, una red puede ajustarse a más cosas, también al ruido.
# Una red recurrente lee un intervalo tras otro y mantiene un estado. Con la atención, cada intervalo puede usar todos los demás, y los intervalos sin imagen se pueden pasar por alto. La tabla indica los artículos; la [bibliografía](../../book/es/bibliography.md) los contiene todos.
#
# ## 7. Entrenar, y parar a tiempo
#
# `training.fit` compila el modelo con Adam y la entropía cruzada, y lo entrena con los lotes de la práctica 2. Keras llama a los *callbacks* entre épocas. Después de cada época el modelo se evalúa en el conjunto de **validación**. Sus ventanas son las mismas en todas las épocas, para que las épocas se puedan comparar. La **parada temprana** termina un entrenamiento cuando la pérdida de validación deja de mejorar.
# El cargador conoce dos cosas que la red del original no usa: qué intervalos se *vieron* y el *día del año*. TempCNN puede usar las dos.
#
# :::{admonition} Predice
# :class: predict
# Con `patience=8`, el entrenamiento termina cuando ocho épocas seguidas no han mejorado la pérdida de validación. ¿Qué pesos conviene conservar: los últimos o los mejores? ¿Y puede ocurrir esto alguna vez con una paciencia de 40 en 40 épocas, como en el original?
# :::

# %% made_from="db5d64e3"
import shutil

from arsetlib import training

runs = here.work / "lab3"
shutil.rmtree(runs, ignore_errors=True)  # si no, se usan ejecuciones anteriores
recipe = {
    "epochs": 3 if here.small else 60,
    "patience": 2 if here.small else 8,
    "batch": 256,
    "seed": 1,
    "progress": here.bars,
    "missing": "allow" if here.small else "refuse",
}

# %% made_from="1c0dcbee"
extras = {"seen": True, "calendar": True}
cnn = training.fit(
    "tempcnn", sides, study, folder=runs / "cnn", options=extras, **recipe
)
losses = cnn.history["val_loss"]
figures.show(
    figures.learning_curves(cnn.history, study=study),
    "Pérdida y puntuación por época, en entrenamiento y validación",
)


# %% [markdown] made_from="5f63dbd7"
# Ahora, la regla de la parada temprana a mano. ¿Encuentra las mismas épocas que Keras?


# %% made_from="fc0408fb"
def stop(losses, patience):
    """(última época, mejor época), contadas desde 1."""
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return epoch + 1, best + 1


# %% made_from="752a4da4"
last, best = stop(losses, recipe["patience"])
print(f"parada después de la época {last}, mejor época {best}")
assert (last, best) == (len(losses), cnn.notes["best_epoch"])
if delta:
    assert losses[0] > min(losses)

ever_worse = np.arange(40.0)  # ninguna época mejora
assert stop(ever_worse, 40)[0] == 40, "una paciencia de 40 paró antes"

# %% [markdown] tags=["answer"] made_from="8ec94cbe"
# Conviene conservar los mejores pesos, y así se hizo: la estrella de la figura marca su época. Con una paciencia de 40, un entrenamiento de 40 épocas nunca se detiene antes, ni siquiera si cada época es peor que la anterior.
#
# ¿Qué pesos tiene la red después del entrenamiento? Depende de `restore_best_weights`. Mídelo en una red que empeora con cada época:


# %% made_from="70071cec"
def worse_and_worse(restore):
    """Pérdida de validación por época, y después de entrenar."""
    dense = layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([layers.Input((1,)), dense])
    model.compile(keras.optimizers.SGD(-0.1), "mse")  # en dirección contraria
    x, y = np.ones((32, 1)), np.zeros((32, 1))
    stopping = keras.callbacks.EarlyStopping(
        monitor="val_loss", patience=6, restore_best_weights=restore
    )
    how = {"epochs": 6, "callbacks": [stopping], "verbose": 0}
    done = model.fit(x, y, validation_data=(x, y), **how)
    return done.history["val_loss"], model.evaluate(x, y, verbose=0)


# %% made_from="7470e2ba"
for restore in (False, True):
    by_epoch, left = worse_and_worse(restore)
    print(f"restore_best_weights={restore}: {len(by_epoch)} épocas")
    print(f"    mejor {min(by_epoch):.2f}, última {by_epoch[-1]:.2f}, ", end="")
    print(f"después de entrenar {left:.2f}")
    expected = min(by_epoch) if restore else by_epoch[-1]
    assert np.isclose(left, expected)

# %% [markdown] made_from="e9350e01"
# Los dos entrenamientos llegaron a la última época. Sin `restore_best_weights=True`, la red se queda con los últimos pesos. Con él, esta versión de Keras recupera los mejores pesos, aunque el *callback* no haya detenido el entrenamiento. `training.fit` lo activa.
# El curso original tenía una paciencia tan larga como el entrenamiento y no lo activaba. Así que entrenaba hasta el final y se quedaba con los últimos pesos. `training.fit` rechaza una paciencia así:

# %% made_from="455bd48f"
import textwrap

message = ""
try:
    training.fit("original", sides, study, epochs=40, patience=40)
except training.TrainingError as error:
    message = str(error)
print(textwrap.fill(message, 78))
assert "never fire" in message

# %% [markdown] made_from="1f328859"
# | *callback* | qué hace aquí |
# |---|---|
# | `EarlyStopping` | termina un entrenamiento que ya no mejora y recupera los mejores pesos |
# | `ModelCheckpoint` | escribe en el disco la mejor red hasta el momento |
# | `BackupAndRestore` | si una ejecución se interrumpió, la misma llamada la continúa y termina con los mismos pesos |
# | `TensorBoard` | escribe curvas, grafo, histogramas e imágenes para la próxima sección |
# | `LearningRateScheduler` | baja la tasa durante el entrenamiento; también lo hace un calendario dado como `learning_rate` |
# | `LambdaCallback` | llama a tu propia función al final de una época |
#
# ## 8. Leer TensorBoard
#
# TensorBoard es una página web que muestra lo que escribió una ejecución. En Colab, Databricks o Jupyter se abre en una celda. En otro lugar, inícialo en una terminal y abre la dirección que imprime:
#
# ```
# %load_ext tensorboard
# %tensorboard --logdir data/lab1-…/lab3            # en un cuaderno
#
# tensorboard --logdir data/lab1-…/lab3             # en una terminal
# ```
#
# *Scalars* y *Time series* muestran pérdidas y puntuaciones por época. *Graphs* muestra el cálculo; *Distributions* y *Histograms*, los pesos. *Images* muestra una matriz de confusión de cada época. *Text* y *HParams* muestran los ajustes de la ejecución. *Projector* (*embeddings*) y *Audio* no se usan aquí.
# Una página de este libro no puede ejecutar el servidor de TensorBoard. Pero cualquier programa puede leer sus archivos, así que las próximas celdas muestran los mismos números e imágenes.
#
# :::{admonition} Predice
# :class: predict
# Después de la primera época, ¿cuál es mayor: la exactitud, en la que pesan más las clases grandes, o la macro-F1, en la que todas las clases pesan lo mismo?
# :::

# %% made_from="43361af0"
logged = training.scalars(runs / "cnn" / "logs")
print(", ".join(logged.columns))
assert np.allclose(logged["validation/epoch_loss"], losses, atol=1e-5)

# %% made_from="d8e13fe7"
found_by = logged[
    ["validation/epoch_categorical_accuracy", "validation/epoch_macro_f1"]
]
found_by = found_by.set_axis(["exactitud", "macro-F1"], axis=1)
fig = figures.lines(
    found_by, "Puntuaciones de validación", "época", "puntuación", study=study
)
figures.show(fig, "Exactitud y macro-F1 en la validación, de TensorBoard")
print(found_by.loc[[1, best]].round(2).to_string())
if delta:
    assert found_by.loc[1].iloc[0] > found_by.loc[1].iloc[1]

# %% tags=["hide-input"] made_from="16d19ba8"
from matplotlib.figure import Figure

pictures = training.pictures(runs / "cnn" / "logs")


def picture(epoch):
    fig = Figure(figsize=(5.6, 5.6))
    axes = fig.add_axes((0, 0, 1, 1))
    axes.imshow(pictures[epoch - 1])
    axes.axis("off")
    return fig


epochs = [e for e in (1, 2, 4, 8, 16) if e < len(pictures)] + [len(pictures)]
alt = "Imagen de TensorBoard de la matriz de confusión, datos simulados."
figures.knob(picture, alt, epoch=epochs)
assert len(pictures) == len(losses)

# %% [markdown] made_from="d5764e33"
# En el delta la exactitud es mayor: la macro-F1 es baja mientras el modelo no encuentra las clases pequeñas. En las imágenes, las filas son las clases verdaderas, y la diagonal muestra qué proporción de cada clase se encontró. Compara la primera época con la última.
#
# ### El perfilador
#
# Las diapositivas muestran también la página *Profile* de una ejecución. Dice cuánto tiempo espera su entrada un paso de entrenamiento. Las próximas celdas miden lo mismo en esta ejecución con un cronómetro, como en la práctica 2, sección 12.
# Para ver la página misma, entrena con `profile=(10, 20)`; necesita el complemento `xprof`, y puede que no funcione en Databricks.
#
# :::{admonition} Predice
# :class: predict
# En la ejecución de la diapositiva, un paso tarda 30.1 ms, de los cuales 25.2 son de entrada. El dispositivo calcula durante 0.4 ms. ¿Cuánto del paso ahorraría un dispositivo diez veces más rápido?
# :::

# %% made_from="0b325260"
slide = {
    "entrada": 25.2,
    "compilación": 0,
    "salida": 0,
    "lanzamiento de kernels": 1.1,
    "cálculo en el anfitrión": 0.2,
    "cálculo en el dispositivo": 0.4,
}
slide["todo lo demás"] = 30.1 - sum(slide.values())
saved = 0.9 * slide["cálculo en el dispositivo"] / 30.1
print(f"un dispositivo diez veces más rápido ahorra {saved:.1%} del paso")
assert saved < 0.02

# %% made_from="dd47e0a0"
timed = models.build("original", **shape, **padding)
timed.compile("adam", "categorical_crossentropy")
batches = samples.batches(sides["train"], study, cnn.scaler, batch=256)

# %% made_from="53ca67a0"
import time

took = []
while len(took) < 40:
    inputs = iter(batches)
    for _ in range(len(batches)):
        began = time.perf_counter()
        x, y = next(inputs)
        received = time.perf_counter()
        timed.train_on_batch(x, y)
        took.append((received - began, time.perf_counter() - received))
waited, worked = 1000 * np.median(took[5:], axis=0)

# %% made_from="941c366d"
steps_ms = pd.DataFrame(
    {
        "diapositiva": slide,
        "aquí": {"entrada": waited, "todo lo demás": worked},
    }
)
fig = figures.bars(
    steps_ms.T.fillna(0), "Tiempo de un paso de entrenamiento", "ms", text=".1f"
)
figures.show(
    fig, "Milisegundos de un paso por partes, en la diapositiva y aquí"
)
input_share = steps_ms.loc["entrada"] / steps_ms.sum()
print("porcentaje del paso que espera la entrada:")
print((100 * input_share).round(1).to_string())
assert abs(input_share["diapositiva"] - 0.839) < 0.005
if delta:
    assert input_share["aquí"] < input_share["diapositiva"]

# %% [markdown] made_from="a36078a6"
# Un dispositivo diez veces más rápido ahorraría menos del 2 % del paso, porque el paso espera su entrada casi todo el tiempo. TensorBoard lo llama *highly input-bound* (muy limitado por la entrada). En ese caso, mejora antes la carga de los datos (práctica 2). (La diapositiva da las partes redondeadas, así que la proporción que ella misma indica difiere en la última cifra.)
#
# ## 9. Demasiado pequeño, demasiado grande
#
# Un modelo puede fallar de dos maneras. *Subajuste*: tiene muy pocos parámetros para la tarea, y las dos pérdidas se quedan altas. *Sobreajuste*: tiene tantos parámetros que memoriza las filas de entrenamiento. La pérdida de entrenamiento sigue bajando, mientras la de validación sube.
#
# :::{admonition} Predice
# :class: predict
# Tres ejecuciones: la red pequeña con un solo núcleo y todas las filas; la red del original con todas las filas; TempCNN, la más grande, con una de cada cuarenta filas. ¿Cuál tiene subajuste y cuál sobreajuste?
# :::

# %% made_from="ca6ce5e1"
rng = np.random.default_rng(1)
few = rng.random(len(sides["train"])) < (0.5 if here.small else 1 / 40)
few_sides = sides | {"train": sides["train"].pick(few, "train")}
print(f"{few.sum()} de {few.size} filas de entrenamiento")

# %% made_from="ba8bf9c2"
longer = 4 if here.small else 40
to_the_end = recipe | {
    "epochs": longer,
    "patience": longer - 1,
    "missing": "allow",
    "learning_rate": 3e-3,
}
most = 4 if here.small else 100
on_few = to_the_end | {"batch": 16, "epochs": most, "patience": most - 1}

# %% made_from="e1f8a4a4"
narrow = {"filters": 1, "units": 2} | padding
no_dropout = {"dropout": 0.0}
tried = {
    "muy pequeña": training.fit(
        "toy", sides, study, options=narrow, **to_the_end
    ),
    "la del original": training.fit(
        "original", sides, study, options=padding, **to_the_end
    ),
    "muy grande": training.fit(
        "tempcnn", few_sides, study, options=no_dropout, **on_few
    ),
}

# %% made_from="822062dd"
figures.knob(
    lambda run: figures.learning_curves(
        tried[run].history, study=study, title=run
    ),
    "Pérdida y exactitud por época, en entrenamiento y validación.",
    run=list(tried),
)

# %% made_from="fc703932"
curves = {
    name: pd.DataFrame(run.history).tail(5).mean()
    for name, run in tried.items()
}
ends = pd.DataFrame(curves).T[
    ["categorical_accuracy", "val_categorical_accuracy"]
]
ends.columns = ["entrenamiento", "validación"]
ends["diferencia"] = ends["entrenamiento"] - ends["validación"]
figures.show(
    ends.reset_index(names="ejecución"),
    "Exactitud de las últimas cinco épocas",
)

# %% made_from="967354a5"
over = tried["muy grande"].history["val_loss"]
print(f"pérdida de validación de «muy grande»: mejor {min(over):.2f}, ", end="")
print(f"última {over[-1]:.2f}")
if delta:
    assert ends["entrenamiento"].idxmin() == "muy pequeña"
    assert ends["diferencia"].idxmax() == "muy grande"
    assert over[-1] > min(over)

# %% [markdown] made_from="eff75bc5"
# En el delta, la ejecución «muy pequeña» tiene subajuste: su exactitud de entrenamiento es la más baja de las tres. La ejecución «muy grande» tiene sobreajuste: su diferencia entre entrenamiento y validación es la mayor, y su pérdida de validación sube después de su mejor época. Una parte de cada diferencia puede tener otra causa: el conjunto de validación tiene otras parcelas y, en el delta, otro año.
# Las ventanas aleatorias dan en cada época otra ventana de una fila. Pero no añaden parcelas: las pocas filas son de pocas parcelas.
#
# :::{admonition} Ejercicio 3
# :class: exercise
# Nombra tres remedios contra el sobreajuste y prueba uno en la última ejecución: parada temprana, *dropout*, menos filtros, más filas. `models.options_of("tempcnn")` enumera las opciones; `training.fit(…, options={…})` las fija.
# :::

# %% tags=["hide-cell"] made_from="c59f9f48"
# Solución: la parada temprana no cuesta nada. Compara las demás sin remedio.
more = rng.random(len(sides["train"])) < 1 / 4
more_sides = sides | {"train": sides["train"].pick(more, "train")}
remedies = {
    "dropout": (few_sides, {"dropout": 0.5}),
    "más filas": (more_sides, no_dropout),
}
print(f"parada temprana: pérdida de validación {min(over):.2f}")
print(f"sin remedio: {over[-1]:.2f} después de la última época")
for name, (rows, options) in remedies.items():
    done = training.fit("tempcnn", rows, study, options=options, **on_few)
    print(
        f"{name}: {done.history['val_loss'][-1]:.2f} después de la última época"
    )

# %% [markdown] made_from="baa91b82"
# :::{admonition} Un buen momento para una pausa
# :class: tip
# Aquí termina la primera mitad. Deja el cuaderno abierto durante la pausa. Si lo cerraste, ejecuta otra vez las celdas desde el principio.
# :::
#
# ## 10. Hiperparámetros
#
# Hay ajustes que el entrenamiento no aprende y que tienes que elegir, como los filtros, el *dropout* y la tasa de aprendizaje. *Optuna* prueba ajustes y aprende qué regiones son buenas (TPE, un método bayesiano). También *detiene* ensayos (*pruning*): los que van peor que la mediana de los anteriores.
# Cada vez que miras un conjunto, tus elecciones se adaptan a él. Por eso los ajustes se eligen con la **validación**, y el conjunto de prueba se usa una sola vez, al final.
#
# :::{admonition} Predice
# :class: predict
# La tasa de aprendizaje se sortea entre 0.0001 y 0.01. ¿Conviene sortearla de manera uniforme, o uniforme en su logaritmo?
# :::

# %% made_from="39da8d07"
space = {
    "options.filters": [8, 32, 64],
    "options.dropout": {"low": 0.1, "high": 0.7},
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
}
brief = recipe | {
    "epochs": 3 if here.small else 10,
    "patience": 2 if here.small else 5,
    "tensorboard": False,
    "options": padding,
}

# %% made_from="ffd977d4"
search = training.search(
    space, sides, study, model="original", pruner="median",
    trials=2 if here.small else 8, **brief,
)  # fmt: skip
result = search.table.rename(columns=lambda c: c.removeprefix("options."))
hidden = ["error", "seconds", "epochs", "parameters"]
figures.show(
    result.drop(columns=hidden).round(4).astype(str),
    "Ensayos de la búsqueda, el mejor primero",
)
assert search.study.best_value == search.table["val_macro_f1"].max()
assert 1e-4 <= search.best["learning_rate"] <= 1e-2

# %% tags=["hide-input"] made_from="cc881594"
by_epoch, dashes = {}, []
for trial in search.study.trials:
    pruned = trial.state.name == "PRUNED"
    name = f"{trial.number}: tasa {trial.params['learning_rate']:.1g}"
    by_epoch[name + ", detenido" * pruned] = pd.Series(
        trial.intermediate_values
    )
    dashes.append("dot" if pruned else "solid")
by_epoch = pd.DataFrame(by_epoch)
by_epoch.index += 1
fig = figures.lines(
    by_epoch, "Los ensayos de la búsqueda", "época", "macro-F1, validación",
    study=study, dashes=dashes, height=420,
)  # fmt: skip
figures.show(fig, "Macro-F1 en la validación por época, para cada ensayo")

# %% made_from="b4d70e4a"
rng = np.random.default_rng(0)
evenly = rng.uniform(1e-4, 1e-2, 1000)
in_logarithm = np.exp(rng.uniform(np.log(1e-4), np.log(1e-2), 1000))
for name, rates in (("uniforme", evenly), ("en logaritmo", in_logarithm)):
    print(
        f"{name}: {(rates < 1e-3).mean():.0%} de las tasas por debajo de 0.001"
    )
assert (evenly < 1e-3).mean() < 0.15 < 0.45 < (in_logarithm < 1e-3).mean()

# %% [markdown] made_from="a6ad4711"
# Uniforme en su logaritmo: lo que cuenta es el factor entre dos tasas, y la mitad del rango, medido en factores, está por debajo de 0.001. Si las tasas se sortean de manera uniforme, pocas son tan pequeñas, como muestran las líneas impresas. Los ensayos de líneas punteadas, si los hay, se detuvieron antes, y así se ahorró tiempo.
# Tan pocos ensayos solo dan una primera idea. El mismo ajuste con otra semilla da otra puntuación, así que una diferencia pequeña puede ser casualidad. Con `storage="search.db"` una búsqueda se guarda y se puede continuar; `optuna.visualization` tiene más figuras de `search.study`.
#
# ---
#
# **El resto de la práctica trata de la prueba**: filas que no se usaron ni para entrenar ni para elegir nada.
#
# ## 11. Quita el azar
#
# Un cargador de entrenamiento sortea otras ventanas y otras imágenes en cada época. Eso es correcto al entrenar y un error al probar: si una puntuación cambia al calcularla otra vez, no se puede comparar con otra.
#
# :::{admonition} Predice
# :class: predict
# Prueba el mismo modelo dos veces con las mismas filas y ventanas aleatorias. ¿Son iguales las dos exactitudes? ¿Y con inicios fijos?
# :::

# %% made_from="7772beb7"
test = sides["test"]
random_windows = samples.Loader(
    test, study, cnn.scaler, start="random", extras=cnn.needs, batch=len(test)
)
drawn = []
for epoch in (0, 1):
    x, y = random_windows.batch(epoch, 0)
    drawn.append(float((cnn.predict(x).argmax(1) == y.argmax(1)).mean()))
print("ventanas aleatorias:", np.round(drawn, 4))
assert drawn[0] != drawn[1]

# %% made_from="72054d51"
first, last = study.season.first_day, study.season.last_day
STARTS = [*range(first, last, 15), last]  # días del año
p = cnn.predictions(test, STARTS)
again = cnn.predictions(test, STARTS)
print(
    "ventanas fijas:     ",
    [round(q.confusion().accuracy, 4) for q in (p, again)],
)
print(p)

assert np.array_equal(p.truth, again.truth)
assert np.array_equal(p.probability, again.probability)
assert len(p) == random_windows.counts["samples"] * len(STARTS)

# %% [markdown] made_from="ba241eec"
# Con ventanas aleatorias las exactitudes difieren. Con inicios fijos, y con la imagen más despejada de cada intervalo en lugar de una al azar, todas las probabilidades son exactamente iguales. Como en la prueba del original, los inicios están a 15 días uno de otro, así que cada fila se predice en cada etapa de la temporada.
#
# ## 12. ¿Qué puntuación?
#
# Una *matriz de confusión* cuenta cuántas veces se tomó cada clase por cada otra: las filas son la verdad, las columnas las predicciones. Todas las puntuaciones salen de ella. La *exhaustividad* (*recall*) es la proporción de una clase verdadera que se encontró. La *precisión* (*precision*) es la proporción de las predicciones de una clase que son correctas.
#
# :::{admonition} Predice
# :class: predict
# Un modelo predice una clase pocas veces, pero correctamente. ¿Qué es alto: su precisión o su exhaustividad?
# :::

# %% made_from="f69fb6d0"
from arsetlib import evaluation

whole = p.confusion()
counts = np.zeros((K, K), int)
np.add.at(counts, (p.truth, p.predicted), 1)
recall = np.diag(counts) / counts.sum(1).clip(1)  # de la verdad: filas
precision = np.diag(counts) / counts.sum(0).clip(1)  # de lo predicho

assert np.array_equal(counts, whole.counts)
assert np.allclose(recall, np.nan_to_num(whole.recall))
assert np.allclose(precision, np.nan_to_num(whole.precision))

# %% made_from="f2873942"
figures.knob(
    lambda shares: figures.confusion(
        whole, shares, study=study, title="Todas las fechas de la prueba"
    ),
    "Matriz de confusión de la prueba, todas las fechas.",
    shares={"de la verdad": "truth", "de la predicción": "prediction"},
)

# %% made_from="3d93708b"
each = whole.table()
figures.show(
    each.reset_index().drop(columns="iou"),
    "Cada clase: muestras, precisión, exhaustividad, F1",
)
rarely = evaluation.Confusion.from_counts([[90, 0], [9, 1]])
print(f"1 de 10 encontrada: precisión {rarely.precision[1]:.1f}, ", end="")
print(f"exhaustividad {rarely.recall[1]:.1f}")
assert (rarely.precision[1], rarely.recall[1]) == (1.0, 0.1)

# %% [markdown] made_from="04bbb839"
# Su precisión es alta y su exhaustividad baja, como muestra el pequeño ejemplo. Ahora elige en el menú de la matriz. Normalizada por la *verdad*, cada fila suma 100 % y la diagonal es la exhaustividad. Normalizada por la *predicción*, como en los cuadernos originales, cada columna suma 100 % y la diagonal es la precisión. Entonces no se ve qué proporción de una clase *faltó*. Por eso, di siempre si son las filas o las columnas las que suman 100 %.
#
# ¿Cuán bueno es el modelo, comparado con uno que siempre da la misma respuesta?

# %% made_from="0050cebf"
constant = evaluation.majority(whole)
for name, c in (("red", whole), ("siempre lo mismo", constant)):
    print(f"{name}: exactitud {c.accuracy:.2f}, ", end="")
    print(f"exactitud equilibrada {c.balanced_accuracy:.2f}, ", end="")
    print(f"macro-F1 {c.macro_f1:.2f}")
assert np.isclose(constant.balanced_accuracy, 1 / (each["truth"] > 0).sum())
assert max(constant.macro_f1, constant.balanced_accuracy) < constant.accuracy

# %% [markdown] made_from="ebaf410d"
# Para la respuesta constante, la clase más frecuente, la exactitud es mayor que la exactitud equilibrada y que la macro-F1. Estas dos dan a cada clase el mismo peso, y la respuesta constante encuentra solo una clase. Por eso, muestra las dos junto a cada exactitud.
#
# ## 13. Cuándo: exactitud por fecha
#
# :::{admonition} Predice
# :class: predict
# Las ventanas pueden terminar al principio, a mitad o al final de la temporada. ¿Cuándo es mayor la exactitud? Piensa en qué clase es la *verdadera* después de la cosecha.
# :::

# %% made_from="7fdd01f4"
dates = evaluation.by_date(p)
figures.show(
    figures.by_date(dates, study=study),
    "Exactitud por fecha: todas las clases y cultivos solos",
)

# %% made_from="3b72000e"
crops = evaluation.single_crops(study.legend)
late = dates.loc[[dates["accuracy"].idxmax()]].T.squeeze()
print(f"mejor exactitud, el {late.name}: {late['accuracy']:.2f}")
print(f"de {', '.join(crops)} solos, ese día: {late['crops_accuracy']:.2f}")
print(f"proporción de la verdad que es uno de ellos: {late['crops_share']:.2f}")
print(f"mejor fecha para estos solos: {dates['crops_accuracy'].idxmax()}")
if delta:
    assert late.name > dates["crops_accuracy"].idxmax()
    assert late["accuracy"] > late["crops_accuracy"] + 0.1

# %% [markdown] made_from="544c74a2"
# La primera línea impresa responde la pregunta. En el delta, la exactitud de todas las clases es mayor al final de la temporada. Esto no muestra que el modelo sea mejor. En otoño la mayoría de las parcelas están desnudas. Por la regla de la práctica 2, su clase verdadera es entonces «Sin cultivo en pie», y el suelo desnudo es fácil de reconocer. Para los *cultivos* por sí solos, la puntuación es mayor antes, en la fecha de la última línea.
# El curso original publicó la misma subida y la tomó por un mérito del modelo. Di a qué clases se refiere una puntuación, y muestra junto a ella la respuesta constante: la figura tiene su línea.
#
# ### ¿Desde qué día?
#
# Quien usa el mapa pregunta de otra manera: ¿desde qué fecha puedo fiarme de una clase? Digamos que «fiarse» significa una F1 de al menos 0.7. Pero ¿en cuántas fechas: una vez, tres seguidas o todas las posteriores? Compara las tres:

# %% made_from="873649e3"
earliest = evaluation.earliest_dates(p, 0.7, least=5 if here.small else 30)
f1 = evaluation.f1_by_date(p)[earliest.index]
fig = figures.lines(
    f1,
    "F1 de cada cultivo por fecha",
    "último día de la ventana",
    "F1",
    study=study,
)
figures.show(fig, "F1 de los cultivos según el último día de la ventana")

# %% made_from="4fe91aed"
three = (f1 >= 0.7)[::-1].rolling(3).min()[::-1] == 1  # esta y dos más
since = three.idxmax().where(three.any())
shown = pd.DataFrame(
    {
        "una vez": earliest["date"],
        "tres seguidas": pd.to_datetime(since),
        "todas las posteriores": earliest["stays"],
    }
)

# %% made_from="9357d34d"
as_text = shown.map(lambda d: "nunca" if pd.isna(d) else wording.day(d))
as_text["mejor F1"] = earliest["best_f1"].round(2)
figures.show(
    as_text.rename_axis("cultivo").reset_index(),
    "Desde cuándo la F1 de un cultivo es al menos 0.7",
)
late_f1 = f1.iloc[-1].round(2).to_dict()
print("F1 en la última fecha:", late_f1)
for name, date in pd.to_datetime(since).dropna().items():
    assert (f1.loc[f1.index >= date.date(), name].head(3) >= 0.7).all()

# %% [markdown] made_from="c648daaa"
# Las fechas difieren entre cultivos, porque sus calendarios difieren. Si «una vez» es anterior a «tres seguidas», la línea superó 0.7 y volvió a bajar. Una sola fecha puede ser casualidad, así que usa «tres seguidas». «Todas las posteriores» es más estricta. Después de la cosecha, pocos píxeles tienen todavía el cultivo como clase verdadera, y su línea puede bajar. «Nunca» también es una respuesta: dila a quien pregunta, y no bajes después el límite.
#
# :::{admonition} Ejercicio 4
# :class: exercise
# ¿Dónde están los errores? Toma las predicciones de una fecha de verano e imprime la exactitud por bloque (`evaluation.by_block`). ¿Son malos unos pocos bloques, o todos un poco? `p.pick(mask)` elige predicciones.
# :::

# %% tags=["hide-cell"] made_from="95003a7f"
# Solución
chosen = dates["crops_accuracy"].idxmax()
summer = p.pick(p.last == np.datetime64(chosen, "D").astype(int))
blocks = evaluation.by_block(summer)
listed = blocks[["samples", "accuracy", "majority_accuracy"]].round(2)
print(wording.shown(listed).to_string())
print(
    "cuartiles:", blocks["accuracy"].quantile([0, 0.25, 0.5, 0.75, 1]).tolist()
)
# Un bloque tiene pocas parcelas, y los píxeles de una parcela suelen acertar o
# fallar juntos. Miles de píxeles dan solo tantas respuestas independientes como
# parcelas hay. Por eso, los intervalos de confianza sortean bloques enteros.

# %% [markdown] made_from="1ff9e179"
# ## 14. Dónde: el mapa
#
# Ahora predice cada píxel del recuadro, para la fecha en que los cultivos solos tuvieron la mejor puntuación. Junto al mapa, la figura muestra las etiquetas y los lugares donde los dos difieren.
#
# :::{admonition} Predice
# :class: predict
# ¿Están los errores repartidos por el mapa como ruido, o en grupos? Si un píxel está equivocado, ¿con qué frecuencia lo está también su vecino?
# :::

# %% made_from="7bb2eb4c"
year = int(test.column("year").max())
labels = here.labels()[year]
out = runs / "maps"
how = {"area": box.key, "year": year, "progress": here.bars}
season = maps.predict(cnn, table, STARTS, out, **how)
print(season[0])
assert len(season) == len(STARTS)

# %% made_from="19c6f5cb"
by_start = evaluation.score_table(p, "day_of_year", repeats=0)
best_start = int(by_start["crops_accuracy"].idxmax())
summer_map = season[STARTS.index(best_start)]
figures.show(
    figures.prediction_map(summer_map, labels=labels, study=study),
    "Mapa de clases predichas, de etiquetas y de dónde difieren",
)

# %% made_from="715131f8"
on_map = maps.compare(summer_map, labels)
print(f"{on_map.accuracy:.2f} de {on_map.total:,.0f} píxeles coinciden")

rows = samples.Rows.of(table)
in_box = (rows.column("area") == box.key) & (rows.column("year") == year)
q = cnn.predictions(rows.pick(in_box), best_start)
assert np.array_equal(on_map.counts, q.confusion().counts)

# %% [markdown] made_from="57711a9c"
# El mapa se hace con las mismas ventanas, el mismo escalador y el mismo modelo que la prueba. Así los dos dan los mismos recuentos, como verifica el `assert`. Cada mapa se escribe en archivos COG (clase, probabilidad, entropía, margen) que contienen la leyenda; QGIS los abre.
#
# ¿Están los errores en grupos? Pon los píxeles en una cuadrícula y mira el vecino derecho de cada píxel equivocado:

# %% made_from="1a0c4232"
column = np.unique(q.x, return_inverse=True)[1]
row = np.unique(-q.y, return_inverse=True)[1]
wrong = np.full((row.max() + 1, column.max() + 1), np.nan)
wrong[row, column] = q.predicted != q.truth
left, right = wrong[:, :-1], wrong[:, 1:]
beside = np.nanmean(right[left == 1])
print(f"{np.nanmean(wrong):.0%} de todos los píxeles están equivocados,")
print(f"{beside:.0%} de los que están junto a uno equivocado")
if delta:
    assert beside > 1.5 * np.nanmean(wrong)

# %% made_from="51c34e7a"
from scipy import ndimage

labelled = np.full(wrong.shape, -1)
labelled[row, column] = q.truth
highest = ndimage.maximum_filter(labelled, 3)
at_edge = highest != ndimage.minimum_filter(labelled, 3)
for where, mask in (("en un borde", at_edge), ("en otro lugar", ~at_edge)):
    print(f"{where}: {np.nanmean(wrong[mask]):.0%} equivocados")
assert at_edge.any()

# %% [markdown] tags=["answer"] made_from="5c4bf81f"
# En el delta los errores están en grupos: un píxel junto a uno equivocado está equivocado mucho más a menudo que uno cualquiera. Las dos últimas líneas comparan los píxeles de los bordes, donde se encuentran dos etiquetas, con todos los demás. Las etiquetas también son el resultado de un clasificador, así que una diferencia no siempre es un error de la red.
#
# ### La temporada
#
# :::{admonition} Predice
# :class: predict
# Mueve el deslizador por las fechas. ¿Qué clase cubre la mayor parte del recuadro en la primera fecha? ¿Qué cultivo es el primero que cubre más del 2 % del recuadro?
# :::

# %% made_from="2da5ded5"
figures.show(
    figures.prediction_map(
        season, labels=labels, study=study, title="Mapas de la temporada"
    ),
    "Clases predichas, etiquetas y diferencia durante la temporada",
)

# %% made_from="8367c8e9"
gif = out / "season.gif"
animation = figures.season_gif(season, gif, labels=labels, study=study)
figures.show(animation, "Los mapas de la temporada como imagen animada")
print(f"imagen para diapositivas: {animation.stat().st_size / 1e6:.1f} MB")

# %% made_from="771e3ac2"
mapped = np.ma.stack([m.read() for m in season])  # (fechas, alto, ancho)
shares = pd.DataFrame(
    [np.bincount(m.compressed(), minlength=K) for m in mapped],
    index=[m.last for m in season],
    columns=names,
)
shares = shares.div(shares.sum(axis=1).clip(1), axis=0)
fig = figures.lines(
    shares, "Superficie de cada clase", "último día de la ventana",
    "proporción del recuadro",
    study=study, height=430,
)  # fmt: skip
figures.show(
    fig, "Proporción del recuadro que el mapa da a cada clase, por fecha"
)

# %% made_from="38d008f7"
of_crops = shares[[names[study.legend.keys.index(k)] for k in crops]]
print(
    f"la mayor parte del recuadro, {shares.index[0]}: {shares.iloc[0].idxmax()}"
)
early = of_crops[(of_crops > 0.02).any(axis=1)].head(1)
for date, values in early.iterrows():
    print(f"primer cultivo que supera el 2 %, {date}: {values.idxmax()}")
changed = (np.ma.diff(mapped, axis=0) != 0).sum(axis=0)  # solo con datos
print(f"{(changed > 0).mean():.0%} de los píxeles cambian de clase")
assert np.allclose(shares.sum(axis=1), 1)

# %% [markdown] made_from="9937e314"
# Las líneas impresas responden las preguntas. La última dice cuántos píxeles cambian de clase durante la temporada. Un mapa de una sola fecha no lo muestra. Por eso los resultados necesitan espacio **y** tiempo.
#
# ## 15. ¿Cuán segura es una predicción?
#
# Usamos las salidas de softmax como probabilidades. ¿Lo son? De cada 100 predicciones con un 80 %, deben acertar 80. Un modelo que lo cumple está *calibrado*.
#
# :::{admonition} Predice
# :class: predict
# La red se entrenó con pocas parcelas y se probó con otras. ¿Está su probabilidad media por encima de la proporción de aciertos (exceso de confianza) o por debajo (falta de confianza)?
# :::

# %% made_from="5320fdb2"
figures.show(
    figures.reliability(evaluation.reliability(p, 10), study=study),
    "Proporción de aciertos según la probabilidad",
)
confidence, accuracy = p.probability.max(1).mean(), whole.accuracy
word = "exceso" if confidence > accuracy else "falta"
print(
    f"probabilidad {confidence:.3f}, aciertos {accuracy:.3f}: {word} de confianza"
)

# %% made_from="58475be9"
scores = evaluation.calibration(p)
print(wording.shown(pd.Series(scores)).round(3).to_string())
assert np.isclose(
    scores["calibration_error"], evaluation.calibration_error(p, 15)
)

# %% [markdown] made_from="0fd75914"
# La línea impresa responde la pregunta para todas las predicciones juntas; la curva lo muestra para cada probabilidad. Por debajo de la diagonal, el modelo tiene exceso de confianza; por encima, falta de confianza.
#
# Una *temperatura* es un número que se ajusta con la validación. Hace todas las probabilidades menos extremas (mayor que 1) o más extremas (menor que 1), sin cambiar ninguna clase predicha:

# %% made_from="4103c12c"
valid = cnn.predictions(sides["validation"], STARTS)
temperature = evaluation.Temperature.fit(valid)
scaled = temperature.apply(p)
print(f"temperatura {temperature.value:.2f}, ajustada en la validación")
for name, r in (("antes", p), ("después", scaled)):
    print(f"error de calibración {name}: {evaluation.calibration_error(r):.3f}")
assert np.array_equal(scaled.predicted, p.predicted)

# %% [markdown] made_from="82730aa9"
# La temperatura corrige solo lo que muestra el conjunto de validación. Si con ella sube el error de calibración de la prueba, la validación y la prueba difieren.
#
# La *entropía* mide cuán repartida está la probabilidad entre las clases. 0 significa una predicción segura; 1, que todas las clases son igual de probables.

# %% made_from="5b97272c"
share = p.probability
entropy = -(share * np.log(share.clip(1e-9))).sum(1) / np.log(K)
unsure = entropy > np.quantile(entropy, 0.8)
right = p.predicted == p.truth
print(
    f"aciertos entre los cuatro quintos más seguros: {right[~unsure].mean():.2f}"
)
print(f"aciertos en el otro quinto: {right[unsure].mean():.2f}")
if delta:
    assert right[~unsure].mean() > right[unsure].mean()

# %% [markdown] made_from="6adc6977"
# En el delta, las predicciones inseguras se equivocan más a menudo. Así que un mapa puede dejarlas en blanco, si dice cuántas son.
#
# ## 16. La clase escasa
#
# Algunas clases tienen pocas muestras. En el delta y en el original, la más escasa es «Otros cultivos» (*Cultivated*), que reúne todos los cultivos sin clase propia: pocas filas, y muy distintas. El modelo del original no encontró ninguna en su prueba. Tomamos la clase con menos muestras de entrenamiento; la celda imprime su nombre.
#
# :::{admonition} Predice
# :class: predict
# `balance=True` da más peso en la pérdida a las muestras de las clases raras, para que todas las clases cuenten lo mismo. ¿Qué pasa con la exhaustividad de la clase más rara, y con la exactitud de todas las clases?
# :::

# %% made_from="d1331656"
loader = samples.Loader(sides["train"], study, None, extras=("weight",))
class_counts, class_weights = loader.class_counts, loader.class_weights
there = class_counts > 0
sparse = int(np.where(there, class_counts, np.inf).argmin())
print(
    f"{names[sparse]}: {class_counts[sparse]:.0f} de {class_counts.sum():.0f}"
)

weighted = (class_counts * class_weights)[there]
assert np.allclose(weighted, weighted[0])
if delta:
    assert study.legend.keys[sparse] == "cultivated"

# %% made_from="5a76ba0a"
balanced = training.fit(
    "tempcnn", sides, study, options=extras, balance=True, **recipe
)
balanced_whole = balanced.predictions(test, STARTS).confusion()

# %% made_from="434e2740"
both = {"sin pesos": whole, "con pesos": balanced_whole}
compared = pd.DataFrame(
    {
        name: {
            "predichas": c.counts[:, sparse].sum(),
            "precisión": c.precision[sparse],
            "exhaustividad": c.recall[sparse],
            "exactitud, todas las clases": c.accuracy,
            "macro-F1, todas las clases": c.macro_f1,
        }
        for name, c in both.items()
    }
).T
alt = f"«{names[sparse]}» sin pesos y con pesos, en la prueba"
figures.show(compared.reset_index(names="entrenamiento"), alt)

# %% made_from="8b4e11f8"
gain = compared.loc["con pesos"] - compared.loc["sin pesos"]
print(gain.round(3).to_string())
if delta:
    assert gain["predichas"] > 0
    assert gain["exhaustividad"] > 0
    assert gain["exactitud, todas las clases"] < 0

# %% [markdown] made_from="c26b0d95"
# En el delta, la red con pesos predice más veces la clase rara. Su exhaustividad sube y la exactitud de todas las clases baja. Las líneas de arriba dicen cuánto, y qué pasa con la precisión. Los pesos no añaden parcelas nuevas: el modelo sigue conociendo la clase solo por unas pocas parcelas.
# Puede ayudar tener más parcelas de esta clase, una clase más estrecha o ninguna clase propia. La *definición* de una clase importa: una clase de cultivos sin relación entre sí puede no tener ningún patrón común que un modelo pueda aprender.
#
# ## 17. Comparar modelos
#
# Compara la puntuación con la de otros modelos. Muchas personas preguntan por el *bosque aleatorio*: muchos árboles de decisión que votan. Su entrada es la ventana como una sola lista de números. No sabe qué intervalos son vecinos y no necesita épocas.
#
# :::{admonition} Predice
# :class: predict
# ¿Qué modelo es el mejor en esta prueba: el bosque, la red del original, o TempCNN, que usa además lo que se vio y el día del año? ¿Es clara la diferencia, o puede ser casualidad?
# :::

# %% made_from="9bd5a5b1"
common = {"progress": here.bars, "missing": recipe["missing"]}
forest = training.fit(
    "random_forest", sides, study, options={"trees": 100}, **common
)
original = training.fit("original", sides, study, options=padding, **recipe)

# %% made_from="60090eb8"
candidates = {
    "TempCNN con extras": p,
    "bosque aleatorio": forest.predictions(test, STARTS),
    "original": original.predictions(test, STARTS),
}
ranking = evaluation.compare(candidates)

# %% made_from="cc98c12f"
columns = ["accuracy", "macro_f1", "macro_f1_low", "macro_f1_high"]
columns += ["behind", "behind_low", "behind_high"]
figures.show(
    ranking[columns].round(3).reset_index(names="modelo"),
    "Modelos en la prueba; low y high limitan el intervalo del 95 %",
)
winner, *others = [n for n in ranking.index if n in candidates]
for name in others:
    clear = ranking.loc[name, "behind_low"] > 0
    print(
        f"{winner} frente a {name}:",
        "diferencia clara" if clear else "puede ser casualidad",
    )
if delta:
    assert ranking["macro_f1"].idxmin() == "majority baseline"

# %% [markdown] made_from="3c38bee0"
# La primera fila es el mejor modelo en esta prueba, y las líneas impresas dicen si es claramente mejor. `behind` es cuánto más baja es la macro-F1 de otro modelo. Si su intervalo de confianza contiene el 0, esta prueba no puede decir cuál de los dos modelos es mejor. Para calcular los intervalos de confianza se sortean muchas veces bloques enteros, porque los píxeles de una parcela no son independientes.
# La [página de rendimiento](../../book/es/performance.md) compara modelos con varias semillas. Si el bosque aleatorio es igual de bueno, úsalo. La excepción es lo que solo puede hacer una red, como seguir entrenando con unas pocas etiquetas de otro lugar.
#
# :::{admonition} Ejercicio 5
# :class: exercise
# ¿Qué bandas usa la red? `evaluation.permutation_importance` da a cada muestra la banda de otra muestra y mide cuánto baja la puntuación. Pruébalo con la ventana del mapa. ¿Por qué puede parecer inútil cada una de dos bandas vecinas?
# :::

# %% tags=["hide-cell"] made_from="0848cfdd"
# Solución
costs = evaluation.permutation_importance(
    cnn.predict, cnn.loader(test, best_start), study.channels, repeats=3
)
title = "Cuánto baja la macro-F1 si se intercambia una banda"
fig = figures.bars(costs["drop"], title, "macro-F1", study=study, text=".3f")
figures.show(fig, "Bajada de la macro-F1 si una banda viene de otras muestras")
# Las bandas vecinas tienen información parecida; una puede sustituir a la otra:
# intercámbialas juntas, con `groups={"red edge": […], …}`.

# %% [markdown] made_from="e749ac91"
# ## 18. Lo que publicó el original
#
# El curso original repartió su tabla de predicciones, así que sus puntuaciones se pueden calcular otra vez. Son de **datos reales**, el bajo delta del Misisipi en 2019. Las tuyas son de un delta **simulado**, si no cambiaste la fuente. Compara los *patrones*, no cuál es mejor.

# %% made_from="90dc6485"
published = evaluation.published.arset_f1()
label = "esta ejecución, simulada" if study.simulated else "esta ejecución"
ours = pd.Series(whole.f1, study.legend.keys).reindex(published.index)
f1s = pd.DataFrame({"publicado en 2024, real": published, label: ours})
f1s = f1s.rename(dict(zip(study.legend.keys, names, strict=True)))
fig = figures.score_bars(f1s, study=study, title="F1 por clase, dos fuentes")
figures.show(fig, "F1 por clase, publicada con datos reales y aquí")

# %% tags=["hide-input"] made_from="5885fd99"
theirs = evaluation.published.arset_by_start()
mine = by_start.reindex(theirs.index + 1)  # la suya cuenta desde 0
beside = theirs.rename(
    columns={
        "accuracy": "publicado",
        "four_crops": "publicado, cuatro cultivos",
    }
)
beside["aquí"] = mine["accuracy"].to_numpy()
beside["aquí, cultivos solos"] = mine["crops_accuracy"].to_numpy()
beside = beside.round(2).astype(str).replace("nan", "no se sabe")
figures.show(
    beside.reset_index(names="primer día, desde 0"),
    f"Exactitud según el primer día: publicada, datos reales; {label}",
)

# %% made_from="15396fe5"
print(wording.shown(evaluation.published.arset_overall()).to_string())
bare = evaluation.published.arset_fallow_share()
print(f"«Sin cultivo en pie» en su verdad, día 180: {bare:.0%}")
assert published["cultivated"] == 0
assert bare > 0.5
assert theirs["accuracy"].idxmax() > theirs["four_crops"].idxmax()
if delta:
    assert by_start["accuracy"].idxmax() > by_start["crops_accuracy"].idxmax()

# %% [markdown] made_from="49a55818"
# Un patrón es el mismo en la tabla publicada y en el delta. La exactitud de todas las clases es mayor en las ventanas tardías; la de los cultivos solos, en ventanas anteriores. En la tabla publicada no se encontró nada de «Otros cultivos». En su inicio más tardío, «Sin cultivo en pie» es la mayor parte de la verdad.
#
# ## 19. Hectáreas
#
# La última pregunta suele ser «¿cuánto hay?». Contar los píxeles de un mapa da un resultado sesgado: si el 1 % de una clase grande se cartografía como arroz, la superficie de arroz queda muy sobrestimada. Una muestra aleatoria con la verdad conocida mide cuántas veces acierta cada clase del mapa. Con eso se puede corregir la superficie y dar un intervalo de confianza (Olofsson y otros, 2014).
# Aquí las etiquetas son la verdad de la muestra. También tienen errores; el final de esta sección muestra la consecuencia.
#
# :::{admonition} Predice
# :class: predict
# Supón que compruebas *todos* los píxeles con las etiquetas. ¿Qué superficie da entonces la estimación: la del mapa, la de las etiquetas o la de las parcelas?
# :::

# %% made_from="8a364c35"
starts, which = p.groups("day_of_year")
in_summer = (p.area == box.key) & (p.year == year)
summer = p.pick(in_summer & (which == starts.index(best_start)))
land = maps.class_areas(labels, [box], study)
hectare = (land["hectares"] / land["pixels"]).iloc[0]  # de un píxel
print(f"{len(summer):,} píxeles de {hectare:.3g} ha")

# %% made_from="0afc81e6"
counted = np.bincount(summer.predicted, minlength=K)
mapped_ha = np.where(counted >= 2, counted, 0) * hectare
strata = np.flatnonzero(counted >= 2)  # un píxel no tiene dispersión
rng = np.random.default_rng(study.seed)
visited = [
    rng.permutation(np.flatnonzero(summer.predicted == k))[:50] for k in strata
]
visited = summer.pick(np.concatenate(visited))
areas = evaluation.stratified_areas(visited.confusion(), mapped_ha)
print(f"{len(visited)} de {len(summer):,} píxeles comprobados")
assert np.isclose(areas.table["area"].sum(), mapped_ha.sum())

# %% made_from="5f9b6cdb"
shown = areas.table[["mapped", "area", "area_low", "area_high"]].copy()
shown["etiquetas"] = np.bincount(summer.truth, minlength=K) * hectare
figures.show(
    figures.areas(areas, study=study),
    "Proporción de cada clase: contada en el mapa y estimada",
)
figures.show(
    shown.round(1).reset_index(),
    "Hectáreas: del mapa, estimadas (intervalo del 95 %), de etiquetas",
)
inside = shown["etiquetas"].between(shown["area_low"], shown["area_high"])
print(f"el intervalo contiene la superficie de {inside.sum()} de {K} clases")

# %% made_from="afbbc341"
off = shown[["mapped", "area"]].sub(shown["etiquetas"], axis=0).abs().sum()
print(
    "hectáreas de diferencia con las etiquetas:",
    wording.shown(off.round(1)).to_dict(),
)
if delta:
    assert off["area"] < off["mapped"]

kept = summer.pick(np.isin(summer.predicted, strata))
all_checked = evaluation.stratified_areas(kept.confusion(), mapped_ha)
of_labels = np.bincount(kept.truth, minlength=K) * hectare
assert np.allclose(all_checked.table["area"], of_labels)

# %% [markdown] made_from="19e0dc90"
# Si se comprueba cada píxel, la estimación *es* la superficie de las etiquetas: lo verifica el último `assert`. En el delta, la muestra pequeña ya está más cerca de las etiquetas que el recuento del mapa.
#
# Pero las etiquetas también tienen errores. La simulación sabe qué creció de verdad, antes de que se pusieran errores en las etiquetas. Así que la misma muestra se puede comprobar de dos maneras: con las etiquetas y con una visita a la parcela.


# %% made_from="c1712f47"
def truth_at(file, q):
    """Números de clase que un ráster de códigos da a predicciones."""
    codes, (west, east, _, north) = maps.read(file, box)
    side = (east - west) / codes.shape[1]
    row = ((north - q.y) / side).astype(int)
    column = ((q.x - west) / side).astype(int)
    classes = study.legend.classes_of(codes[row, column].astype(int))
    shows = green[row, column]  # la regla de la ventana
    return samples.apply_vegetation_rule(classes, shows, study.legend)


green = summer_map.read("vegetation").filled(0) == 1
assert np.array_equal(truth_at(labels.path, summer), summer.truth)

# %% made_from="4fd9a9ba"
truth_file = study.root / f"truth_{year}.tif"
knows_truth = study.simulated and truth_file.is_file()
if knows_truth:
    grown, at_visit = (
        truth_at(truth_file, summer),
        truth_at(truth_file, visited),
    )
    print(f"{(grown != summer.truth).mean():.1%} de las etiquetas son erróneas")
    one = at_visit >= 0  # dos cultivos en un año no son una clase
    in_field = evaluation.Confusion.of(
        at_visit[one], visited.predicted[one], study.legend
    )
    by_visit = evaluation.stratified_areas(in_field, mapped_ha)
    shown["estimación con visitas"] = by_visit.table["area"]
    shown["lo que creció"] = (
        np.bincount(grown[grown >= 0], minlength=K) * hectare
    )
    assert (shown["lo que creció"] - shown["etiquetas"]).abs().sum() > 0
else:
    print("Nadie conoce la verdad de este lugar.")

# %% made_from="df86a4d0"
if knows_truth:
    columns = ["area", "etiquetas", "estimación con visitas", "lo que creció"]
    figures.show(
        shown[columns].round(1).reset_index(),
        "Hectáreas: estimadas con etiquetas y visitas, y las verdaderas",
    )

# %% [markdown] made_from="d838b0a1"
# La primera estimación se acerca a la columna «etiquetas»; la segunda, a la columna «lo que creció». Donde estas dos columnas difieren, la primera estimación hereda el error de las etiquetas. Una muestra mayor de etiquetas no lo quita: si se comprueban todos los píxeles, el resultado es exactamente la superficie de las etiquetas. El intervalo de confianza no incluye este error.
# Por eso, una estimación real necesita para su muestra una fuente mejor que las etiquetas que entrenaron el modelo. Puede ser una visita a las parcelas, o una persona que interprete imágenes.
#
# ## 20. Lo que enseña la prueba original
#
# Dos cultivos en un año tienen dos respuestas correctas. El original dejó esas filas en su prueba. Los nombres de los dobles cultivos no estaban en ninguna lista de clases, así que su «verdad» pasó a ser «No cultivado». ¿Qué predice un modelo para ellas?

# %% made_from="7648215e"
from arsetlib import pixels

codes, when = (table[c].to_numpy() for c in ("label_code", "year"))
double = np.flatnonzero(study.legend.classes_of(codes) < 0)
print(
    f"{len(double)} filas de la tabla tienen un código que la leyenda excluye"
)
series = pixels.ragged(table)
channels = samples.Channels.of(study)


def predict_excluded(start):
    """(filas,) Clases de las filas excluidas para un inicio."""
    days = samples.start_days(when[double], start)
    how = {"rows": double, "choose": "clearest", "channels": channels}
    w = samples.window(series, study.season, days, scaler=cnn.scaler, **how)
    x = {"series": w.x, "seen": w.seen}
    x["day_of_year"] = np.full(len(double), start, np.int32)
    return cnn.predict(x).argmax(1)


# %% made_from="439108a8"
if len(double):
    predicted = {}
    for start, made in zip(STARTS[::2], season[::2], strict=True):
        counts = np.bincount(predict_excluded(start), minlength=K)
        predicted[wording.day(made.last)] = 100 * counts / len(double)
    predicted = pd.DataFrame(predicted, names).T
    fig = figures.bars(
        predicted, "Predicciones de parcelas con dos cultivos", "porcentaje",
        study=study, colours=study.legend.colours, text=".0f",
    )  # fmt: skip
    figures.show(fig, "Clases predichas de dobles cultivos, por último día")
    assert np.allclose(predicted.sum(axis=1), 100)
    if delta:
        assert predicted.idxmax(axis=1).nunique() > 1

# %% made_from="cc58880d"
excluded = np.isin(p.truth, np.arange(K), invert=True).sum()
print(f"{excluded} muestras de la prueba sin una respuesta correcta única")
assert excluded == 0

# %% [markdown] made_from="ec4c7e82"
# En el delta, la predicción más frecuente cambia durante la temporada, porque cambia el cultivo de la parcela. Si la clase verdadera es «No cultivado», cada respuesta correcta cuenta como error. Por eso una fila sin una única respuesta correcta no pertenece a una prueba. Y una lista de clases no debe ignorar en silencio un nombre desconocido.
#
# | defecto del original | su efecto | qué lo evita aquí |
# |---|---|---|
# | una paciencia tan larga como el entrenamiento, sin recuperar los mejores pesos | el entrenamiento nunca paraba antes, y quedaban los últimos pesos | `training.fit` rechaza esa paciencia y conserva la mejor época (sección 7) |
# | azar en la prueba | la puntuación cambia al calcularla otra vez | inicios fijos, la imagen más despejada; un `assert` de igualdad (sección 11) |
# | normalizar por la predicción | la exhaustividad no se veía | el título de la matriz dice qué suma 100 % (sección 12) |
# | exactitud de todas las clases por fecha | un máximo tardío que es suelo desnudo | una línea para los cultivos solos y otra para la respuesta constante (sección 13) |
# | dobles cultivos en la prueba | respuestas correctas que contaban como error | se excluyen por código, en todos los conjuntos (sección 20) |
# | la cebada y otros faltaban en las listas | cultivos que pasaban a «No cultivado» | un código desconocido es un error (práctica 2) |
# | un intervalo de más, y relleno *valid* | un error ocultaba el otro | las formas se declaran y se verifican (sección 3) |
#
# ## Lo que has aprendido
#
# - Una convolución usa un número limitado de días. El relleno y el *pooling* deciden qué imágenes tienen efecto, y ningún mensaje de error lo dice.
# - La pérdida es −log de la probabilidad de la clase verdadera; su gradiente es respuesta menos verdad. Los optimizadores se diferencian en lo que conservan de los pasos anteriores.
# - El conjunto de validación decide cuándo parar y qué ajustes tomar; el conjunto de prueba se usa una sola vez.
# - Las curvas distinguen el subajuste del sobreajuste.
# - Una prueba no tiene azar, dice qué suman sus proporciones y se compara con la respuesta constante.
# - Los resultados necesitan tiempo *y* espacio, con intervalos de confianza que sortean bloques, no píxeles.
# - Las probabilidades, las superficies y los mapas necesitan cada uno su propia comprobación. Las estimaciones heredan los errores de sus etiquetas.
#
# ## ¿Y si…?
#
# - **¿… tengo mis propias etiquetas en otro lugar?** Entrena aquí, o con la CDL donde la agricultura se parece, y sigue entrenando con las tuyas: `arset train --from MODEL`. `training.learning_curve` muestra cuánto ayudan unas pocas etiquetas.
# - **¿… quiero PyTorch o JAX?** El escalador, las ventanas y las puntuaciones no necesitan TensorFlow: `samples.arrays` y `samples.sequence` dan los lotes, y `evaluation.Predictions` toma las probabilidades de cualquier modelo.
# - **¿… tengo una o varias tarjetas gráficas?** `training.fit(…, strategy="mirrored")`. Mide antes cuánto tiempo espera un paso su entrada (sección 8).
# - **¿… qué bandas importan?** `evaluation.permutation_importance` intercambia una banda cada vez, y `evaluation.leave_one_out` entrena sin ella.
# - **¿… mi puntuación es demasiado buena?** Busca una fuga de información: práctica 2, sección 9.
# - **¿… quiero todos los resultados en una página?** `figures.report(p, "report.html")`, o `arset evaluate` y `arset report`.
# - **¿… quiero seguir?** Sube `epochs` en la sección 7 y `trials` en la sección 10, o toma el estudio real en la sección 1.
